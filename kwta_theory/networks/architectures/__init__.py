"""The paper's architectures (Section 4, Appendix D.1), each with any activation and any width.

All activations are modules, so they can be counted, replaced and hooked. Pixels come in as they are, in [0, 1].
"""

from kwta_theory.networks.architectures.build import ARCHITECTURES, Architecture, build, parameter_count

__all__ = ["ARCHITECTURES", "Architecture", "build", "parameter_count"]
