package main

import (
	"fmt"
	"time"

	"gabion/server/admin"
	"gabion/store/block"
)

// scrubOptions checks the settings of the scrubber.
func (s *settings) scrubOptions() (o block.ScrubOptions, err error) {
	if o.Rate, err = admin.ParseSize(s.ScrubRate); err != nil {
		return o, fmt.Errorf("--scrub-rate: %w", err)
	}
	if o.Every, err = time.ParseDuration(s.ScrubEvery); err != nil || o.Every < 0 || o.Every > 0 && o.Every < time.Minute {
		return o, fmt.Errorf("--scrub-every: %q is neither 0 nor a time of a minute or more, such as 168h", s.ScrubEvery)
	}
	return o, nil
}

// scrubber is the volume's, as the admin API sees it.
func (a *array) scrubber() *admin.Scrubber {
	return &admin.Scrubber{
		Start: a.volume.StartScrub,
		Stop:  a.volume.StopScrub,
		Status: func() admin.ScrubStatus {
			st := a.volume.ScrubStatus()
			out := admin.ScrubStatus{
				Running: st.Running, Began: admin.ScrubTime(st.Began), Finished: admin.ScrubTime(st.Finished), Next: admin.ScrubTime(st.Next),
				Passes: st.Passes, Done: st.Done, Total: st.Total, Rate: a.scrub.Rate, Verified: st.Verified,
				Problems: st.Problems, Damage: []admin.Damage{}, LeftOut: append([]string{}, st.LeftOut...),
			}
			for _, p := range st.Found {
				out.Damage = append(out.Damage, damage(p))
			}
			return out
		},
	}
}
