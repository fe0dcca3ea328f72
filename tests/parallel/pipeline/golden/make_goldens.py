#!/usr/bin/env python3
"""Makes the golden schedules of this folder, and proves them, without the program.

    python3 make_goldens.py            # rewrites *.txt here; they must not change
    python3 make_goldens.py --sweep    # proves many more shapes

GPipe and 1F1B are not written down here: they come out of a greedy clock with a bound on what is in flight (GPipe:
none; 1F1B: p - r micro-batches). Interleaved 1F1B, ZB-H1 and DualPipeV follow the published loops. Every schedule is
then run by an event clock; its idle time and its peak are compared with the published formulas.
"""
import sys
from pathlib import Path

F, I, W, B = "FIWB"
LENGTH = {F: 1, I: 1, W: 1, B: 2}


def parts(action):
    """[(phase, chunk, micro_batch)] of an action, B taken apart."""
    out = []
    for phase, chunk, mb in action:
        out += [(I, chunk, mb), (W, chunk, mb)] if phase == B else [(phase, chunk, mb)]
    return out


def needs(part, chunks):
    phase, c, m = part
    if phase == F:
        return [(F, c - 1, m)] if c else []
    if phase == I:
        return [(F, c, m)] + ([(I, c + 1, m)] if c + 1 < chunks else [])
    return [(I, c, m)]


def run(owner, programs, length=LENGTH, pair=3):
    """Event clock. Returns makespan and idle time by rank; raises when it stands still."""
    chunks, done = len(owner), {}
    at, free, busy = [0] * len(programs), [0.0] * len(programs), [0.0] * len(programs)
    while any(at[r] < len(p) for r, p in enumerate(programs)):
        moved = False
        for r, program in enumerate(programs):
            while at[r] < len(program):
                action = program[at[r]]
                own = set(parts(action))
                wanted = [n for part in parts(action) for n in needs(part, chunks) if n not in own]
                if any(n not in done for n in wanted):
                    break
                begin = max([free[r]] + [done[n] for n in wanted])
                d = pair if len(action) == 2 else length[action[0][0]]
                for part in parts(action):
                    assert part not in done, part
                    assert owner[part[1]] == r
                    done[part] = begin + d
                free[r], busy[r], at[r], moved = begin + d, busy[r] + d, at[r] + 1, True
        if not moved:
            raise RuntimeError(f"stands still at {at}: {[p[a] for p, a in zip(programs, at) if a < len(p)]}")
    return max(free), [max(free) - b for b in busy], done


def peaks(programs):
    out = []
    for program in programs:
        now = most = 0
        for action in program:
            for phase, _, _ in parts(action):
                now += {F: 1, I: 0, W: -1}[phase]
                most = max(most, now)
        out.append(most)
    return out


def greedy(p, m, in_flight):
    """Backward when one is there, else forward while fewer than in_flight(r) are under way."""
    programs, done, free = [[] for _ in range(p)], {}, [0] * p
    fwd, bwd = [0] * p, [0] * p
    for time in range(10 * p * (m + p)):
        for r in range(p):
            if free[r] > time:
                continue
            can_b = bwd[r] < fwd[r] and done.get((F, r, bwd[r]), 9e9) <= time and (
                r == p - 1 or done.get((I, r + 1, bwd[r]), 9e9) <= time)
            can_f = fwd[r] < m and (r == 0 or done.get((F, r - 1, fwd[r]), 9e9) <= time)
            all_forward_first = in_flight(r) >= m
            if can_b and not (all_forward_first and fwd[r] < m):
                programs[r].append(((B, r, bwd[r]),))
                free[r] = done[(I, r, bwd[r])] = time + 2
                bwd[r] += 1
            elif can_f and fwd[r] - bwd[r] < in_flight(r):
                programs[r].append(((F, r, fwd[r]),))
                free[r] = done[(F, r, fwd[r])] = time + 1
                fwd[r] += 1
    return list(range(p)), programs


def gpipe(p, m):
    return greedy(p, m, lambda r: 10**9)


def one_f_one_b(p, m):
    return greedy(p, m, lambda r: p - r)


def interleaved(p, m, v, g=None):
    g = g or p
    sizes = [g] * (m // g) + ([m % g] if m % g else [])
    if 0 < m % g < p and m > g:  # a last group shorter than the pipeline would stand still: share it out
        groups, rest = m // g, m % g
        sizes = [g + rest // groups + (1 if k < rest % groups else 0) for k in range(groups)]
    g = max(sizes)
    firsts = [sum(sizes[:k]) for k in range(len(sizes))]
    units = [(c, mb) for first, size in zip(firsts, sizes) for c in range(v) for mb in range(first, first + size)]
    programs = []
    for r in range(p):
        warm = min(len(units), 2 * (p - r - 1) + (v - 1) * g)
        fwd = [((F, c * p + r, mb),) for c, mb in units]
        bwd = [((B, (v - 1 - c) * p + r, mb),) for c, mb in units]
        steady = [a for pair in zip(fwd[warm:], bwd) for a in pair]
        programs.append(fwd[:warm] + steady + bwd[len(fwd) - warm:])
    return [c % p for c in range(p * v)], programs


def zb_h1(p, m):
    programs = []
    for r in range(p):
        warm, program, w = min(p - r - 1, m), [], 0
        program += [((F, r, k),) for k in range(warm)]
        for i in range(m):
            if warm + i < m:
                program.append(((F, r, warm + i),))
            program.append(((I, r, i),))
            if i >= r or warm + i >= m:
                program.append(((W, r, w),))
                w += 1
        program += [((W, r, k),) for k in range(w, m)]
        programs.append(program)
    return list(range(p)), programs


def dualpipev(R, m):
    programs = []
    for r in range(R):
        program, count, queue = [], {}, []

        def take(kind, half):
            k = count.setdefault((kind, half), 0)
            count[(kind, half)] += 1
            return r if half == 0 else 2 * R - 1 - r, k

        def f(half):
            program.append(((F, *take(F, half)),))

        def b(half, defer=False):
            at = take(B, half)
            program.append(((I if defer else B, *at),))
            if defer:
                queue.append(at)

        def w():
            program.append(((W, *queue.pop(0)),))

        def fb(fwd_half, bwd_half):
            program.append(((F, *take(F, fwd_half)), (B, *take(B, bwd_half))))

        for _ in range(2 * (R - r - 1)):
            f(0)
        for _ in range(r + 1):
            f(0), f(1)
        for _ in range(R - r - 1):
            b(1, True), w(), f(1)
        for i in range(m - 2 * R + r + 1):
            if i == 0 and r == R - 1:
                f(0), b(1)
            else:
                fb(0, 1)
            fb(1, 0)
        for _ in range(R - r - 1):
            b(1), fb(1, 0)
        defer, middle = False, (r + 1) // 2
        for i in range(r + 1):
            if i == middle and r % 2 == 1:
                defer = True
            b(1, defer)
            if i == middle and r % 2 == 0:
                defer = True
            b(0, defer)
        for _ in range(R - r - 1):
            w(), b(0, True)
        for _ in range(r + 1):
            w()
        assert not queue
        programs.append(program)
    return [min(c, 2 * R - 1 - c) for c in range(2 * R)], programs


def text(name, owner, programs, m):
    def word(action):
        return "&".join(f"{c}{phase}{mb}" for phase, c, mb in action)

    head = f"schedule {name} ranks={len(programs)} chunks={len(owner)} micro_batches={m} " \
           f"placement={','.join(map(str, owner))}\n"
    return head + "".join(f"rank {r}: {' '.join(map(word, p))}\n" for r, p in enumerate(programs))


def prove(name, owner, programs, m, bubble=None, peak=None):
    makespan, idle, done = run(owner, programs)
    assert len(done) == 3 * len(owner) * m, (name, len(done))
    for part, _ in done.items():
        for n in needs(part, len(owner)):
            assert n in done
    if bubble is not None:
        assert max(idle) == bubble, (name, len(programs), m, idle, bubble)
    if peak is not None:
        assert peaks(programs) == peak, (name, peaks(programs), peak)


def build(name, p, m, v=2):
    if name == "gpipe":
        s = gpipe(p, m)
        prove(name, *s, m, 3 * (p - 1), [m] * p)
    elif name == "1f1b":
        s = one_f_one_b(p, m)
        prove(name, *s, m, 3 * (p - 1) if m >= p else None, [min(p - r, m) for r in range(p)])
    elif name == "interleaved":
        s = interleaved(p, m, v)
        prove(name, *s, m, 3 * (p - 1) if m % p == 0 else None)
    elif name == "zb1":
        s = zb_h1(p, m)
        prove(name, *s, m, p - 1 if m >= 2 * p else None, [min(p, m)] * p)
    else:
        s = dualpipev(p, m)
        prove(name, *s, m, 2 * (p - 1), [2 * p + 1] * p if m > 2 * p else None)
    return s


if __name__ == "__main__":
    if "--sweep" in sys.argv:
        for p in range(1, 10):
            for m in range(1, 28):
                for v in range(1, 5):
                    try:
                        build("interleaved", p, m, v)
                    except Exception as e:
                        print("interleaved", p, m, v, str(e)[:150])
                for name in ("gpipe", "1f1b", "zb1") + (("dualpipev",) if m >= 2 * p else ()):
                    try:
                        build(name, p, m)
                    except Exception as e:
                        print(name, p, m, type(e), str(e)[:150])
    else:
        for name in ("gpipe", "1f1b", "interleaved", "zb1", "dualpipev"):
            for p, m in ((2, 5), (4, 8), (8, 16)):
                m = 4 if name == "interleaved" and p == 2 else m
                Path(__file__).with_name(f"{name}_p{p}.txt").write_text(text(name, *build(name, p, m), m))
