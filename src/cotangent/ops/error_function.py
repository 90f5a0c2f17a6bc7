"""The error function, which array modules lack: polynomials, and their evaluation.

``erf(x) = x p(x**2)`` up to 1, and ``1 - exp(-x**2) q(u)`` with ``u = 1 / (1 + x / 2)`` above, to
1 ulp of float64. The compiler uses the same coefficients.
"""

from __future__ import annotations

from typing import Any

from ..dtypes import float32, float64

# From here on erf is 1 in float64.
FAR = 6.0
NEAR = {
    float32: (
        1.1283791670615435,
        -0.3761263846802871,
        0.11283782495236845,
        -0.026865430727670243,
        0.005221031807858023,
        -0.0008484080405535107,
        0.00011265959025606609,
        -9.667044571486996e-06,
    ),
    float64: (
        1.1283791670955126,
        -0.3761263890318375,
        0.11283791670954879,
        -0.026866170645076792,
        0.0052239776248180145,
        -0.000854832698083379,
        0.0001205533111164271,
        -1.4925595266831182e-05,
        1.6461000484121368e-06,
        -1.6350312701054695e-07,
        1.4659775274047436e-08,
        -1.1372848856791674e-09,
        5.957176147748911e-11,
    ),
}
TAIL = {
    float32: (
        -9.565333183114346e-05, 0.284014920591064, 0.26551295534936736, 0.32706170302687476,
        -0.05984437745625851, 0.5085158604514767, -0.4335865764553917, 0.10839819348967313,
    ),
    float64: (
        1.273194538411999e-08, 0.28209433744603646, 0.28210194185256204, 0.24676994208173553,
        0.17661452876291867, 0.08342915067749279, -0.011294696331083888, 0.0031605924750990814,
        -0.3377317752090611, 0.9210072415249974, -2.1298439188930316, 3.799359906028882,
        -4.583844406614994, 3.6426059404027527, -1.8535316382081848, 0.5535022023245029,
        -0.07440021243346044,
    ),
}  # fmt: skip


def evaluate(xp: Any, x: Any) -> Any:
    """erf(x) with the functions of an array module; computed in float64, to the digits of x."""
    wide = xp.astype(x, float64)
    size = xp.abs(wide)
    size = xp.where(size > FAR, xp.full((), FAR, dtype=float64), size)
    kind = float64 if "64" in str(x.dtype) else float32
    near = wide * _polynomial(wide * wide, NEAR[kind])
    above = xp.exp(-size * size) * _polynomial(1.0 / (1.0 + 0.5 * size), TAIL[kind])
    far = xp.sign(wide) * (1.0 - above)
    return xp.astype(xp.where(size < 1.0, near, far), x.dtype)


def _polynomial(x: Any, coefficients: Any) -> Any:
    y = x * 0.0 + coefficients[-1]
    for c in coefficients[-2::-1]:
        y = y * x + c
    return y
