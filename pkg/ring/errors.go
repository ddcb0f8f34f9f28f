package ring

import "errors"

// The answers of a [Ring] and a [Gate] besides success and a context's error. They are returned as
// they are, never wrapped, so that refusing costs no allocation.
var (
	// ErrClosed says that Close has begun: nothing was taken and nothing ever will be. From
	// PopBatch it says more: every item has been popped.
	ErrClosed = errors.New("ring: closed")
	// ErrFull says that there was no room, or none within the time allowed. A later call may succeed.
	ErrFull = errors.New("ring: full")
	// ErrTooLarge says that the size is more than the whole byte budget (or negative): waiting is useless.
	ErrTooLarge = errors.New("ring: larger than the whole budget")
)
