"""The driver: the one native function that runs a program, and what the pool's threads run.

A program is a table of rows: kernel, slots, extent, grain. A kernel does the units from `first`
to before `last` of the `extent` that its work has. The driver goes through the table: compute,
look at the status, commit; for a loop it then moves the addresses of the arguments and results on
and begins again. It sets the floating-point control state to IEEE defaults, whatever the thread's
is, and restores it.

Some rows at the front may look at the variables; what they find is good for PATIENCE iterations.
TRUSTED says for how many more it is, none if somebody else has written since; where it is used up,
the rows run again. In the commit, a kernel may report that a variable now has a value that they
would not accept: that iteration is done, and the run ends, with nothing trusted.

Where the extent is more than the grain, and there is a pool, the work is a region: chunks of
`grain` units that the driver and the threads claim, by counting LEFT down. A claim that finds no
chunk left does no harm, however late it comes, and one that finds a chunk holds the region open
until FINISHED says so; so the fields of the job need no lock. Every second thread begins in the
middle and not at the front; who is through with a half takes chunks from the end of the other. So a
core works, from region to region, on about the same part of everything, which lies in its cache.

Threads lose where other processes have the cores: one that is held up in the midst of its chunk
holds up the driver. What a region would have taken alone is known from the chunks that the driver
did. What regions gain is credit, up to some milliseconds, from which losses are paid; when it is
used up, the driver works alone for some times as long as was lost. Who does a chunk does not change
its bits.
"""

from __future__ import annotations

from ...runtime import pool

FIELDS = (
    "entries", "computing", "total", "status", "moves", "move_count", "pool",
    "guarding", "trusted", "patience",
)  # fmt: skip
ROW = 4  # words of an entry
# How often the driver looks, with a pause in between, before it lets others run: some 5 to 70
# microseconds, as a pause takes 10 cycles on one processor and 140 on another.
_SPINS = 1000
# Nanoseconds that a thread looks for work before it sleeps: longer than a kernel that is not split
# takes, or Python from one call to the next. To wake it takes ten thousand and more.
_PATIENCE = 50_000
# After so many of them it lets others run in between, who may want the core more.
_POLITE = 5_000
# Nanoseconds that regions can have gained and not lost again. A machine that is merely shared costs
# a part of a millisecond now and then, which is no reason to work alone.
_MOST_CREDIT = 5_000_000

_STATE = {
    "x86_64": (
        "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)\n"
        "declare void @llvm.x86.sse2.pause()",
        """  %old = alloca i32
  %new = alloca i32
  store i32 8064, ptr %new
  call void @llvm.x86.sse.stmxcsr(ptr %old)
  call void @llvm.x86.sse.ldmxcsr(ptr %new)""",
        "  call void @llvm.x86.sse.ldmxcsr(ptr %old)",
    ),
    "aarch64": (
        "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)\n"
        "declare void @llvm.aarch64.hint(i32)",
        "  %old = call i64 @llvm.aarch64.get.fpcr()\n  call void @llvm.aarch64.set.fpcr(i64 0)",
        "  call void @llvm.aarch64.set.fpcr(i64 %old)",
    ),
}
# The instruction that says "waiting", and the number of the call sched_yield.
_SYSTEM = {
    "x86_64": ("call void @llvm.x86.sse2.pause()", 24),
    "aarch64": ("call void @llvm.aarch64.hint(i32 1)", 124),
}

# One row of the table, entry number %NAME.i: inline, or by the pool.
_RUN_ROW = """  %NAME.o = mul i64 %NAME.i, ROW
  %NAME.e = getelementptr i64, ptr %entries, i64 %NAME.o
  %NAME.f = load ptr, ptr %NAME.e
  %NAME.s.p = getelementptr i64, ptr %NAME.e, i64 1
  %NAME.s = load ptr, ptr %NAME.s.p
  %NAME.x.p = getelementptr i64, ptr %NAME.e, i64 2
  %NAME.x = load i64, ptr %NAME.x.p
  %NAME.g.p = getelementptr i64, ptr %NAME.e, i64 3
  %NAME.g = load i64, ptr %NAME.g.p
  %NAME.big = icmp ugt i64 %NAME.x, %NAME.g
  %NAME.shared = and i1 %NAME.big, %has_pool
  br i1 %NAME.shared, label %NAME.region, label %NAME.inline
NAME.region:
  call void @region(ptr %pool, ptr %NAME.e)
  br label %NAME.ran
NAME.inline:
  call void %NAME.f(ptr %NAME.s, i64 0, i64 %NAME.x)
  br label %NAME.ran
NAME.ran:
"""

_RUN = """define i64 @run(ptr %program, i64 %times) "no-builtins" nounwind {
entry:
ENTER
FIELD_LOADS
  %has_pool = icmp ne ptr %pool, null
  %any = icmp ne i64 %times, 0
  br i1 %any, label %begin, label %exit
begin:
  store i64 0, ptr %status
  %is.trusted = icmp ne i64 %trusted, 0
  br i1 %is.trusted, label %compute, label %guard
guard:
  %s.i = phi i64 [0, %begin], [0, %again], [%s.next, %s.ran]
  %s.done = phi i64 [0, %begin], [%done1, %again], [%s.done, %s.ran]
  %s.more = icmp ult i64 %s.i, %guarding
  br i1 %s.more, label %guard_one, label %compute
guard_one:
GUARD_ROW  %s.next = add i64 %s.i, 1
  br label %guard
again:
  store i64 0, ptr %status
  %tired = icmp eq i64 %trust1, 0
  br i1 %tired, label %guard, label %compute
compute:
  %c.i = phi i64 [%guarding, %begin], [%guarding, %guard], [%guarding, %again], [%c.next, %c.ran]
  %done = phi i64 [0, %begin], [%s.done, %guard], [%done1, %again], [%done, %c.ran]
  %trust = phi i64 [%trusted, %begin], [%patience, %guard], [%trust1, %again], [%trust, %c.ran]
  %more = icmp ult i64 %c.i, %computing
  br i1 %more, label %compute_one, label %look
compute_one:
COMPUTE_ROW  %c.next = add i64 %c.i, 1
  br label %compute
look:
  %bad = load i64, ptr %status
  %stop = icmp ne i64 %bad, 0
  br i1 %stop, label %failed, label %commit
commit:
  %w.i = phi i64 [%computing, %look], [%w.next, %w.ran]
  %left = icmp ult i64 %w.i, %total
  br i1 %left, label %commit_one, label %moving
commit_one:
COMMIT_ROW  %w.next = add i64 %w.i, 1
  br label %commit
moving:
  %m = phi i64 [0, %commit], [%m1, %move_one]
  %rest = icmp ult i64 %m, %move_count
  br i1 %rest, label %move_one, label %next
move_one:
  %v.o = shl i64 %m, 1
  %v.p = getelementptr i64, ptr %moves, i64 %v.o
  %v = load ptr, ptr %v.p
  %w.p = getelementptr i64, ptr %v.p, i64 1
  %w = load i64, ptr %w.p
  %old.a = load i64, ptr %v
  %new.a = add i64 %old.a, %w
  store i64 %new.a, ptr %v
  %m1 = add i64 %m, 1
  br label %moving
next:
  %done1 = add i64 %done, 1
  %trust1 = sub i64 %trust, 1
  %late = load i64, ptr %status
  %doubtful = icmp ne i64 %late, 0
  %enough = icmp eq i64 %done1, %times
  %end = or i1 %doubtful, %enough
  br i1 %end, label %succeeded, label %again
succeeded:
  %trust.left = select i1 %doubtful, i64 0, i64 %trust1
  store i64 %trust.left, ptr %trusted.p
  br label %exit
failed:
  store i64 0, ptr %trusted.p
  br label %exit
exit:
  %result = phi i64 [0, %entry], [%done, %failed], [%done1, %succeeded]
LEAVE
  ret i64 %result
}
"""

# Claim chunks and do them, until none is left; how many that were.
_HELP = """define internal i64 @help(ptr %pool, i1 %is.upper) "no-builtins" nounwind {
entry:
PLACES(left, job, lower, upper)
  %side = select i1 %is.upper, ptr %upper, ptr %lower
  br label %claim
claim:
  %n = phi i64 [0, %entry], [%n1, %work]
  %old = atomicrmw sub ptr %left, i64 1 seq_cst
  %any = icmp sgt i64 %old, 0
  br i1 %any, label %work, label %none
work:
  %f = load ptr, ptr %job
  %s.p = getelementptr i64, ptr %job, i64 1
  %s = load ptr, ptr %s.p
  %extent.p = getelementptr i64, ptr %job, i64 2
  %extent = load i64, ptr %extent.p
  %grain.p = getelementptr i64, ptr %job, i64 3
  %grain = load i64, ptr %grain.p
  %chunks.p = getelementptr i64, ptr %job, i64 4
  %chunks = load i64, ptr %chunks.p
  %nth = atomicrmw add ptr %side, i64 1 seq_cst
  %half = lshr i64 %chunks, 1
  %rest = sub i64 %chunks, %half
  %start = select i1 %is.upper, i64 %half, i64 0
  %count = select i1 %is.upper, i64 %rest, i64 %half
  %far.end = select i1 %is.upper, i64 %half, i64 %chunks
  %own = add i64 %start, %nth
  %past = sub i64 %nth, %count
  %far.last = sub i64 %far.end, 1
  %stolen = sub i64 %far.last, %past
  %is.own = icmp ult i64 %nth, %count
  %i = select i1 %is.own, i64 %own, i64 %stolen
  %first = mul i64 %i, %grain
  %end = add i64 %first, %grain
  %over = icmp ugt i64 %end, %extent
  %last = select i1 %over, i64 %extent, i64 %end
  call void %f(ptr %s, i64 %first, i64 %last)
  %n1 = add i64 %n, 1
  br label %claim
none:
  ret i64 %n
}
"""

_NOW = """define internal i64 @now(ptr %pool) "no-builtins" nounwind {
entry:
PLACES(clock)
  %time = alloca [2 x i64]
  %get = load ptr, ptr %clock
  %r = call i32 %get(i32 1, ptr %time)
  %s = load i64, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  %n = load i64, ptr %rest
  %of.s = mul i64 %s, 1000000000
  %all = add i64 %of.s, %n
  ret i64 %all
}
"""

# The caller's side: offer the work, wake who sleeps, help, wait for the rest, and reckon.
_REGION = """define internal void @region(ptr %pool, ptr %row) "no-builtins" nounwind noinline {
entry:
PLACES(left, turn, sleepers, finished, job, syscall, caution, alone, credit, lower, upper)
  %f = load ptr, ptr %row
  %s.p = getelementptr i64, ptr %row, i64 1
  %s = load ptr, ptr %s.p
  %extent.p = getelementptr i64, ptr %row, i64 2
  %extent = load i64, ptr %extent.p
  %grain.p = getelementptr i64, ptr %row, i64 3
  %grain = load i64, ptr %grain.p
  %extent.last = sub i64 %extent, 1
  %chunks.less = udiv i64 %extent.last, %grain
  %chunks = add i64 %chunks.less, 1
  %begun = call i64 @now(ptr %pool)
  %until = load i64, ptr %alone
  %careful = icmp slt i64 %begun, %until
  br i1 %careful, label %by_itself, label %shared
by_itself:
  call void %f(ptr %s, i64 0, i64 %extent)
  ret void
shared:
  store ptr %f, ptr %job
  %to.s = getelementptr i64, ptr %job, i64 1
  store ptr %s, ptr %to.s
  %to.extent = getelementptr i64, ptr %job, i64 2
  store i64 %extent, ptr %to.extent
  %to.grain = getelementptr i64, ptr %job, i64 3
  store i64 %grain, ptr %to.grain
  %to.chunks = getelementptr i64, ptr %job, i64 4
  store i64 %chunks, ptr %to.chunks
  store i64 0, ptr %finished
  store i64 0, ptr %lower
  store i64 0, ptr %upper
  store atomic i64 %chunks, ptr %left seq_cst, align 8
  %before = atomicrmw add ptr %turn, i32 1 seq_cst
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %wake = icmp ne i32 %asleep, 0
  br i1 %wake, label %waking, label %helping
waking:
  %call = load ptr, ptr %syscall
  %r = call i64 (i64, ...) %call(i64 FUTEX, ptr %turn, i64 WAKE, i64 %chunks.less)
  br label %helping
helping:
  %start = call i64 @now(ptr %pool)
  %mine = call i64 @help(ptr %pool, i1 false)
  %stop = call i64 @now(ptr %pool)
  %rest = sub i64 %chunks, %mine
  br label %wait
wait:
  %spun = phi i64 [0, %helping], [%spun1, %pause], [0, %give_way]
  %done = load atomic i64, ptr %finished acquire, align 8
  %all = icmp eq i64 %done, %rest
  br i1 %all, label %exit, label %again
again:
  %long = icmp ugt i64 %spun, SPINS
  br i1 %long, label %give_way, label %pause
pause:
  PAUSE
  %spun1 = add i64 %spun, 1
  br label %wait
give_way:
  %yield = load ptr, ptr %syscall
  %q = call i64 (i64, ...) %yield(i64 YIELD)
  br label %wait
exit:
  %nothing = icmp eq i64 %mine, 0
  br i1 %nothing, label %won, label %reckon
reckon:
  %end = call i64 @now(ptr %pool)
  %own = sub i64 %stop, %start
  %own.all = mul i64 %own, %chunks
  %serial = udiv i64 %own.all, %mine
  %took = sub i64 %end, %begun
  %gain = sub i64 %serial, %took
  %before.it = load i64, ptr %credit
  %sum = add i64 %before.it, %gain
  %much = icmp sgt i64 %sum, MOST_CREDIT
  %kept = select i1 %much, i64 MOST_CREDIT, i64 %sum
  %lost = icmp slt i64 %kept, 0
  br i1 %lost, label %back_off, label %note
note:
  store i64 %kept, ptr %credit
  ret void
back_off:
  store i64 0, ptr %credit
  %loss = sub i64 0, %kept
  %long.enough = load i64, ptr %caution
  %pay = mul i64 %loss, %long.enough
  %later = add i64 %end, %pay
  store i64 %later, ptr %alone
  ret void
won:
  ret void
}
"""

# A thread of the pool. It reads the turn before it claims, so work that comes later changes it.
_WORK = """define ptr @work(ptr %pool) "no-builtins" nounwind {
entry:
ENTER
PLACES(turn, sleepers, finished, stop, syscall, started)
  %number = atomicrmw add ptr %started, i32 1 seq_cst
  %odd = and i32 %number, 1
  %is.upper = icmp eq i32 %odd, 0
  br label %look
look:
  %seen = load atomic i32, ptr %turn seq_cst, align 4
  %leave = load atomic i32, ptr %stop seq_cst, align 4
  %out = icmp ne i32 %leave, 0
  br i1 %out, label %exit, label %claim
claim:
  %n = call i64 @help(ptr %pool, i1 %is.upper)
  %some = icmp ne i64 %n, 0
  br i1 %some, label %report, label %wait
report:
  %was = atomicrmw add ptr %finished, i64 %n seq_cst
  br label %wait
wait:
  %since = call i64 @now(ptr %pool)
  br label %spin
spin:
  %spun = phi i64 [0, %wait], [%spun1, %pause], [%spun1, %give_way]
  %now = load atomic i32, ptr %turn acquire, align 4
  %changed = icmp ne i32 %now, %seen
  br i1 %changed, label %look, label %idle
idle:
  %spun1 = add i64 %spun, 1
  %few = and i64 %spun1, 31
  %ask = icmp eq i64 %few, 0
  br i1 %ask, label %asking, label %pause
asking:
  %then = call i64 @now(ptr %pool)
  %idled = sub i64 %then, %since
  %long = icmp sgt i64 %idled, PATIENCE
  br i1 %long, label %sleep, label %waiting
waiting:
  %polite = icmp sgt i64 %idled, POLITE
  br i1 %polite, label %give_way, label %pause
give_way:
  %yield = load ptr, ptr %syscall
  %q = call i64 (i64, ...) %yield(i64 YIELD)
  br label %spin
pause:
  PAUSE
  br label %spin
sleep:
  %one.more = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %call = load ptr, ptr %syscall
  %r = call i64 (i64, ...) %call(i64 FUTEX, ptr %turn, i64 WAIT, i32 %seen, ptr null)
  %one.less = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %look
exit:
  ret ptr null
}
"""


def driver_text(processor: str) -> str:
    """``i64 @run(ptr program, i64 times)``: how many times the program ran and committed; and
    ``ptr @work(ptr pool)``, which a thread of the pool runs.

    Args:
        processor: "x86_64" or "aarch64".
    """
    declarations, enter, leave = _STATE[processor]
    pointers = ("entries", "status", "moves", "pool")
    loads = "\n".join(
        f"  %{name}.p = getelementptr i64, ptr %program, i64 {i}\n"
        f"  %{name} = load {'ptr' if name in pointers else 'i64'}, ptr %{name}.p"
        for i, name in enumerate(FIELDS)
    )
    rows = _RUN_ROW.replace("ROW", str(ROW))
    run = _RUN.replace("COMPUTE_ROW", rows.replace("NAME", "c"))
    run = run.replace("COMMIT_ROW", rows.replace("NAME", "w")).replace("FIELD_LOADS", loads)
    run = run.replace("GUARD_ROW", rows.replace("NAME", "s"))
    text = "\n".join([declarations, run, _HELP, _NOW, _REGION, _WORK])
    text = _with_places(text).replace("ENTER", enter).replace("LEAVE", leave)
    pause, give_way = _SYSTEM[processor]
    names = {
        "PAUSE": pause, "FUTEX": pool.FUTEX[processor], "YIELD": give_way, "WAIT": pool.WAIT,
        "WAKE": pool.WAKE, "SPINS": _SPINS, "PATIENCE": _PATIENCE, "POLITE": _POLITE,
        "MOST_CREDIT": _MOST_CREDIT,
    }  # fmt: skip
    for name, value in names.items():
        text = text.replace(name, str(value))
    return text


def _with_places(text: str) -> str:
    """``PLACES(a, b)`` becomes the addresses of those fields of the pool's memory."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("PLACES("):
            lines.append(line)
            continue
        for name in line[len("PLACES(") : -1].split(", "):
            lines.append(f"  %{name} = getelementptr i8, ptr %pool, i64 {_PLACES[name]}")
    return "\n".join(lines) + "\n"


_PLACES = {
    "left": pool.LEFT,
    "turn": pool.TURN,
    "sleepers": pool.SLEEPERS,
    "finished": pool.FINISHED,
    "job": pool.JOB,
    "stop": pool.STOP,
    "syscall": pool.SYSCALL,
    "clock": pool.CLOCK,
    "caution": pool.CAUTION,
    "alone": pool.ALONE,
    "credit": pool.CREDIT,
    "started": pool.STARTED,
    "lower": pool.LOWER,
    "upper": pool.UPPER,
}
