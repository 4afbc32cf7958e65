"""Exact laws without randomness, and what the paper's proofs grant in numbers. Nothing here imports torch."""

from kwta_theory.theory.boundaries import (
    best_sparsity_ratio,
    boundary_density,
    jump_size,
    jump_variation,
    limiting_boundary_density,
    lwta_boundary_density,
    relu_boundary_density,
    swap_value,
)
from kwta_theory.theory.chi_square import chi_square_log_tail, lemma8_exact_radius, lemma8_radius
from kwta_theory.theory.exact_arguments import (
    RotationBound,
    theorem8_exact_argument,
    theorem8_exact_failure,
    theorem10_exact_failure,
)
from kwta_theory.theory.lemma5_steps import lemma5_best_steps, lemma5_epsilon, lemma5_exact_steps
from kwta_theory.theory.nets import log_net_lower_bound, log_net_upper_bound, log_printed_net_size, sphere_net
from kwta_theory.theory.pair_laws import (
    beta_from_cosine,
    cosine_from_beta,
    disjoint_patterns,
    disjoint_patterns_bounds,
    intersecting_patterns,
    limiting_overlap,
    overlap_probability,
    same_pattern,
)
from kwta_theory.theory.proof_bounds import (
    lemma5_failure_bound,
    lemma5_margin,
    theorem8_log_width,
    theorem8_width,
    theorem9_width,
    theorem10_log_width,
)
from kwta_theory.theory.quadrature import QuadratureError
from kwta_theory.theory.sphere import log_cap_fraction, log_packing_bound

__all__ = [
    "QuadratureError",
    "RotationBound",
    "best_sparsity_ratio",
    "beta_from_cosine",
    "boundary_density",
    "chi_square_log_tail",
    "cosine_from_beta",
    "disjoint_patterns",
    "disjoint_patterns_bounds",
    "intersecting_patterns",
    "jump_size",
    "jump_variation",
    "lemma5_best_steps",
    "lemma5_epsilon",
    "lemma5_exact_steps",
    "lemma5_failure_bound",
    "lemma5_margin",
    "lemma8_exact_radius",
    "lemma8_radius",
    "limiting_boundary_density",
    "limiting_overlap",
    "log_cap_fraction",
    "log_net_lower_bound",
    "log_net_upper_bound",
    "log_packing_bound",
    "log_printed_net_size",
    "lwta_boundary_density",
    "overlap_probability",
    "relu_boundary_density",
    "same_pattern",
    "sphere_net",
    "swap_value",
    "theorem8_exact_argument",
    "theorem8_exact_failure",
    "theorem8_log_width",
    "theorem8_width",
    "theorem9_width",
    "theorem10_exact_failure",
    "theorem10_log_width",
]
