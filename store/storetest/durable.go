package storetest

import (
	"sync"

	"gabion/store"
)

func testWait(k *kit) {
	k.ok(k.v.Wait(0))
	s := k.data(k.file(k.root, "f"))
	var last store.Pos
	for i := range 50 {
		pos := k.write(s, pattern(uint64(i), 5000), int64(i)*5000)
		if pos < last || pos == 0 {
			k.Errorf("position %d after %d", pos, last)
		}
		last = pos
		if i%5 == 0 {
			k.ok(k.v.Wait(pos))
		}
	}
	k.ok(k.v.Wait(last))
	k.ok(k.v.Wait(1))
	k.ok(k.v.Sync())
}

func testOnDurable(k *kit) {
	s := k.data(k.file(k.root, "f"))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				pos, err := s.WriteAt(pattern(uint64(i), 4096), int64(w*20+i)*4096, store.Touch{})
				if err != nil {
					k.Error(err)
					return
				}
				wg.Add(1)
				k.v.OnDurable(pos, func(err error) {
					if err != nil {
						k.Error(err)
					}
					wg.Done()
				})
			}
		})
	}
	wg.Wait()
	called := make(chan error, 1)
	k.v.OnDurable(0, func(err error) { called <- err })
	k.ok(<-called)
}
