package object

// Token is who asks (auth.Token).
type Token struct{}
