/*
 * Parking: event.go, and the loops around it in pop.go (PopBatchContext) and ring.go (Push).
 *
 * The ring is abstracted to a counter of published items: TryPush and pop are one step each
 * (ring.pml shows that they may be). What is left is everything about who sleeps and who wakes them,
 * on both sides: consumers on `ready`, producers on `room`.
 *
 * The semaphore holds one token. Go hands a token to a goroutine that is already parked without
 * storing it, so the code can have one token more under way than the model; more tokens only mean
 * more looks, so the model's fewer tokens are the harder case.
 *
 * Checked when nothing can run any more: nobody is parked beside something to do, nor after Close,
 * and every item was popped exactly once or is still there.
 *
 * -DNP -DNI   producers and pushes of each      -DCLOSE=1   somebody calls Close at any moment
 * -DNC -DB    consumers and their batch         -DSTALL=1   consumers may never return from a batch
 * -DCAP       slots                             -DCANCEL=1  one on each side has a ctx that ends
 * -DBUG=n     seeds a mistake (see check.sh)
 */
#ifndef BUG
#define BUG 0
#endif
#define OK 0
#define FULL 1
#define CLOSED 2

byte items = 0, okpush = 0, popped = 0;
bit closed = 0, ctxdone = 0;
byte readyW = 0, roomW = 0;            /* event.waiters */
chan readySem = [1] of { bit };        /* event.sem */
chan roomSem = [1] of { bit };
byte pparked = 0, cparked = 0, stuck = 0, cleft = 0;   /* ghosts */

/* event.wake: a send that gives up when a token lies there */
inline wake(sem) { atomic { if :: nfull(sem) -> sem!1 :: full(sem) -> skip fi } }

/* event.notify: load waiters, then wake */
inline notify(w, sem) { if :: w > 0 -> wake(sem) :: else -> skip fi }

/* Ring.TryPush */
inline trypush() {
#if BUG == 6
  if :: readyW > 0 -> early = 1 :: else -> early = 0 fi;     /* waiters are loaded before publishing */
#endif
  atomic {
    if
    :: closed -> r = CLOSED
    :: !closed && items == CAP -> r = FULL
    :: !closed && items < CAP -> items++; okpush++; r = OK
    fi
  };
  if
  :: r == OK ->
#if BUG == 4
     skip
#elif BUG == 6
     if :: early -> wake(readySem) :: else -> skip fi
#else
     notify(readyW, readySem)                                /* r.ready.notify() */
#endif
  :: else -> skip
  fi
}

/* Ring.pop */
inline pop() {
  atomic {
    k = (items < B -> items : B); items = items - k; popped = popped + k;
    drained = (k == 0 && closed)
  };
  if
  :: k > 0 && BUG != 7 -> notify(roomW, roomSem)             /* r.room.notify() */
  :: else -> skip
  fi
}

/* Ring.passOn; only who took a token owes it */
inline passOn() {
  if
  :: tok && readyW > 0 && BUG != 2 ->
     if :: items > 0 || (closed && BUG != 3) -> wake(readySem) :: else -> skip fi
  :: else -> skip
  fi
}

/* Ring.passRoomOn */
inline passRoomOn() {
  if
  :: tok && roomW > 0 && BUG != 8 -> if :: items < CAP || closed -> wake(roomSem) :: else -> skip fi
  :: else -> skip
  fi
}

/* NI times Ring.Push */
proctype producer(bit ctx) {
  byte i = 0, r; bit tok;
#if BUG == 6
  bit early;
#endif
  do
  :: i < NI ->
again:
     trypush();
     if
     :: r == FULL ->
#if BUG == 10
        roomW++;                                             /* no second look */
#else
        roomW++;                                             /* r.room.announce() */
        trypush();
#endif
        if
        :: r == FULL ->
           pparked++;
           if                                                /* r.room.park(ctx.Done()) */
           :: roomSem?_ -> pparked--; roomW--; tok = 1; goto again
           :: ctx && ctxdone -> pparked--; roomW--; break    /* return ctx.Err() */
           fi
        :: else -> roomW--                                   /* r.room.leave() */
        fi
     :: else -> skip
     fi;
     passRoomOn(); tok = 0;
     if :: r == CLOSED -> break :: else -> i++ fi
  :: else -> break
  od
}

/* Ring.PopBatchContext until ErrClosed */
proctype consumer(bit ctx) {
  byte k; bit drained, tok;
  do
  :: k = 0;
again:
     pop();
     if
     :: k == 0 && !drained ->
        readyW++;                                            /* r.ready.announce() */
#if BUG != 1
        pop();
#endif
        if
        :: k == 0 && !drained ->
           cparked++;
           if                                                /* r.ready.park(ctx.Done()) */
           :: readySem?_ -> cparked--; readyW--; tok = 1;
#if BUG == 9
              if :: ctx && ctxdone -> break :: else -> goto again fi  /* leaves with the token */
#else
              goto again                                     /* continue: look again */
#endif
           :: ctx && ctxdone -> cparked--; readyW--; break   /* return 0, ctx.Err() */
           fi
        :: else -> readyW--                                  /* r.ready.leave() */
        fi
     :: else -> skip
     fi;
     passOn(); tok = 0;
     if
     :: drained -> break
     :: !drained                                             /* busy with its batch ... */
     :: !drained && STALL -> atomic { stuck++; k = 0 }; goto out   /* ... for ever */
     fi
  od;
  cleft++;
out: skip
}

/* Ring.Close */
proctype closer() { closed = 1; notify(readyW, readySem); notify(roomW, roomSem) }
proctype canceller() { ctxdone = 1 }

init {
  byte i = 0;
  atomic {
    do :: i < NP -> run producer(CANCEL && i == 0); i++ :: else -> break od; i = 0;
    do :: i < NC -> run consumer(CANCEL && i == 0); i++ :: else -> break od; i = 0;
    if :: CLOSE -> run closer() :: else -> skip fi;
    if :: CANCEL -> run canceller() :: else -> skip fi
  };
  timeout ->
  assert(popped + items == okpush);
  assert(cparked == 0 || (items == 0 && !closed));
  assert(pparked == 0 || (items == CAP && !closed));
  assert(cparked + stuck + cleft == NC);
  assert(readyW == cparked && roomW == pparked)
}
