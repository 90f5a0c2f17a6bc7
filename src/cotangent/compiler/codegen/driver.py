"""The driver: the one native function that runs a program.

A program is a table of (kernel, slots) pairs. The driver goes through it: compute, look at the
status, commit; for a loop it then moves the addresses of the arguments and results on and
begins again. It sets the floating-point control state to IEEE defaults, whatever the thread's
is, and restores it.
"""

from __future__ import annotations

FIELDS = ("entries", "computing", "total", "status", "moves", "move_count")

_STATE = {
    "x86_64": (
        "declare void @llvm.x86.sse.stmxcsr(ptr)\ndeclare void @llvm.x86.sse.ldmxcsr(ptr)",
        """  %old = alloca i32
  %new = alloca i32
  store i32 8064, ptr %new
  call void @llvm.x86.sse.stmxcsr(ptr %old)
  call void @llvm.x86.sse.ldmxcsr(ptr %new)""",
        "  call void @llvm.x86.sse.ldmxcsr(ptr %old)",
    ),
    "aarch64": (
        "declare i64 @llvm.aarch64.get.fpcr()\ndeclare void @llvm.aarch64.set.fpcr(i64)",
        "  %old = call i64 @llvm.aarch64.get.fpcr()\n  call void @llvm.aarch64.set.fpcr(i64 0)",
        "  call void @llvm.aarch64.set.fpcr(i64 %old)",
    ),
}


_TEMPLATE = """DECLARATIONS
define i64 @run(ptr %program, i64 %times) "no-builtins" nounwind {
entry:
ENTER
FIELD_LOADS
  %any = icmp ne i64 %times, 0
  br i1 %any, label %again, label %exit
again:
  %done = phi i64 [0, %entry], [%done1, %next]
  store i64 0, ptr %status
  br label %compute
compute:
  %i = phi i64 [0, %again], [%i1, %run_one]
  %more = icmp ult i64 %i, %computing
  br i1 %more, label %run_one, label %look
run_one:
  %f.o = shl i64 %i, 1
  %f.p = getelementptr ptr, ptr %entries, i64 %f.o
  %f = load ptr, ptr %f.p
  %s.p = getelementptr ptr, ptr %f.p, i64 1
  %s = load ptr, ptr %s.p
  call void %f(ptr %s)
  %i1 = add i64 %i, 1
  br label %compute
look:
  %bad = load i64, ptr %status
  %stop = icmp ne i64 %bad, 0
  br i1 %stop, label %failed, label %commit
commit:
  %c = phi i64 [%computing, %look], [%c1, %commit_one]
  %left = icmp ult i64 %c, %total
  br i1 %left, label %commit_one, label %moving
commit_one:
  %g.o = shl i64 %c, 1
  %g.p = getelementptr ptr, ptr %entries, i64 %g.o
  %g = load ptr, ptr %g.p
  %t.p = getelementptr ptr, ptr %g.p, i64 1
  %t = load ptr, ptr %t.p
  call void %g(ptr %t)
  %c1 = add i64 %c, 1
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
  %enough = icmp eq i64 %done1, %times
  br i1 %enough, label %exit, label %again
failed:
  br label %exit
exit:
  %result = phi i64 [0, %entry], [%done, %failed], [%done1, %next]
LEAVE
  ret i64 %result
}
"""


def driver_text(processor: str) -> str:
    """``i64 @run(ptr program, i64 times)``: how many times the program ran and committed.

    Args:
        processor: "x86_64" or "aarch64".
    """
    declarations, enter, leave = _STATE[processor]
    pointers = ("entries", "status", "moves")
    loads = "\n".join(
        f"  %{name}.p = getelementptr i64, ptr %program, i64 {i}\n"
        f"  %{name} = load {'ptr' if name in pointers else 'i64'}, ptr %{name}.p"
        for i, name in enumerate(FIELDS)
    )
    text = _TEMPLATE.replace("DECLARATIONS", declarations).replace("FIELD_LOADS", loads)
    return text.replace("ENTER", enter).replace("LEAVE", leave)
