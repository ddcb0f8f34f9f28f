/*
 * The gate: gate.go and reserve.go. One word (credits, flagQueued, flagIdle, flagClosed) and a FIFO
 * of waiters under a mutex. Items and bytes are one weight here: they are added, compared and
 * returned together in one atomic step, so a second dimension adds no interleaving.
 *
 * Three reservations (weights 2, 1, 2 of 2; the last may run into its deadline, the second tries to
 * grow), optionally somebody in WaitIdle and Close at any moment. With HOLD the weights are 1, 1, 2
 * and the first never releases: the others must get what is left.
 *
 * Checked: never more than CAPA in use; nobody passes the queue; at the end nobody waits beside free
 * credits, no credit is leaked, no flag is left behind, WaitIdle has returned.
 *
 * -DCLOSE=0|1   -DIDLE=0|1   -DHOLD=0|1   -DBUG=n seeds a mistake (see check.sh)
 */
#ifndef BUG
#define BUG 0
#endif
#define CAPA 2
#define NA 3
#define PENDING 0
#define GRANTED 1
#define REFUSED 2
#define GAVEUP 3

byte used = 0; bit fQueued = 0, fIdle = 0, fClosed = 0;      /* Gate.word: touched in single steps */
bit mu = 0;                                                  /* Gate.mu */
byte q[NA]; byte qn = 0;                                     /* Gate.queue: waiting ids */
byte need[NA]; byte outcome[NA];                             /* waiter.need, waiter.outcome */
chan wakeup[NA] = [1] of { bit };                            /* waiter.wake */
bit idleOpen = 0, idleClosed = 0;                            /* Gate.idle: made, closed */
byte done = 0, idlers = 0, held = 0;                         /* ghosts */

inline lock() { atomic { mu == 0 -> mu = 1 } }
inline unlock() { mu = 0 }

/* dequeueLocked; x leaves the queue wherever it stands */
inline dequeue(x) {
  d_step {
    k = 0;
    do :: q[k] != x -> k++ :: else -> break od;
    do :: k + 1 < qn -> q[k] = q[k+1]; k++ :: else -> break od;
    qn--; q[qn] = 0; k = 0
  };
  if :: qn == 0 && BUG != 8 -> fQueued = 0 :: else -> skip fi   /* word.And(^flagQueued) */
}

/* grantLocked */
inline grant() {
  do
  :: qn > 0 ->
     h = q[0];
     if
     :: atomic { used + need[h] <= CAPA -> used = used + need[h] };
        dequeue(h); outcome[h] = GRANTED; wakeup[h]!1
     :: atomic { used + need[h] > CAPA -> break }
     fi
  :: else -> break
  od;
  h = 0
}

/* allBackLocked */
inline allBack() { fIdle = 0; if :: idleOpen -> idleClosed = 1; idleOpen = 0 :: else -> skip fi }

/* Release: one addition, and the flags as they were in its result */
inline release() {
  atomic { used = used - need[me]; f = fQueued; z = (fIdle && used == 0) };
  if :: f && BUG != 5 -> lock(); grant(); unlock() :: else -> skip fi;
  if
  :: z -> lock(); if :: used == 0 -> allBack() :: else -> skip fi; unlock()
  :: else -> skip
  fi;
  f = 0; z = 0
}

/* Reserve (TryReserve, enqueue, await, giveUp), then TryGrow, then Release */
proctype reserve(byte me; bit deadline; bit grows) {
  byte h, k, r; bit f, c, z;
  if                                                         /* TryReserve: one CAS on the word */
  :: atomic { fClosed -> r = REFUSED }
  :: atomic { (!fClosed && (!fQueued || BUG == 4) && used + need[me] <= CAPA) ->
              used = used + need[me]; r = GRANTED; assert(qn == 0) }
  :: atomic { (!fClosed && !((!fQueued || BUG == 4) && used + need[me] <= CAPA)) -> r = PENDING };
     lock();                                                 /* enqueue */
#if BUG == 1
     f = (used + need[me] <= CAPA);                          /* looks first, raises the flag second */
     c = fClosed;
     if :: !c -> fQueued = 1 :: else -> skip fi;
#else
     c = fClosed;
     if :: !c -> fQueued = 1 :: else -> skip fi;             /* word.Or(flagQueued) */
     f = 1;
#endif
     if
     :: c -> unlock(); r = REFUSED
     :: else ->
        if
        :: atomic { (qn == 0 && f && used + need[me] <= CAPA) -> used = used + need[me]; fQueued = 0 };
           unlock(); r = GRANTED
        :: atomic { !(qn == 0 && f && used + need[me] <= CAPA) -> q[qn] = me; qn++; outcome[me] = PENDING };
           unlock();
           if                                                /* await: select */
           :: wakeup[me]?_; r = outcome[me]                  /* settle */
           :: deadline ->                                    /* giveUp */
              lock();
              if
              :: outcome[me] == PENDING ->
                 dequeue(me);
#if BUG != 2
                 grant();
#endif
                 unlock(); r = GAVEUP
              :: else ->
                 unlock();
#if BUG == 3
                 r = GAVEUP                                  /* drops what it was granted */
#else
                 wakeup[me]?_; r = outcome[me]
#endif
              fi
           fi
        fi
     fi
  fi;
  f = 0; c = 0;
  if
  :: r == GRANTED ->
     assert(used <= CAPA);
     if                                                      /* TryGrow: never past the queue */
     :: grows -> atomic { if :: !fClosed && !fQueued && used + 1 <= CAPA -> used++; need[me]++; assert(qn == 0) :: else -> skip fi }
     :: else -> skip
     fi;
     if :: HOLD && me == 0 -> held = need[me] :: else -> release() fi
  :: else -> skip
  fi;
  done++
}

/* Close */
proctype closer() {
  byte h, k;
  lock(); fClosed = 1;
  do
  :: qn > 0 -> h = q[0]; dequeue(h); if :: BUG != 6 -> outcome[h] = REFUSED; wakeup[h]!1 :: else -> skip fi
  :: else -> break
  od;
  unlock()
}

/* WaitIdle */
proctype idler() {
  bit zero;
  lock();
#if BUG == 7
  zero = (used == 0); fIdle = 1;                             /* looks first, raises the flag second */
#else
  atomic { fIdle = 1; zero = (used == 0) };                  /* word.Or(flagIdle) returns the credits */
#endif
  if
  :: zero -> allBack(); unlock()
  :: else -> idleOpen = 1; unlock(); idleClosed
  fi;
  idlers++
}

init {
  atomic {
    need[0] = (HOLD -> 1 : 2); need[1] = 1; need[2] = 2;
    run reserve(0, 0, 0); run reserve(1, 0, 1); run reserve(2, 1, 0);
    if :: IDLE -> run idler() :: else -> skip fi;
    if :: CLOSE -> run closer() :: else -> skip fi
  };
  timeout ->
  assert(done == NA);
  assert(used == held);
  assert(!fQueued && !fIdle && qn == 0 && mu == 0);
  assert(idlers == IDLE)
}
