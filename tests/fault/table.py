"""Every fault that is tried, by the file that tries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.fault import embedded, kafka_faults, network_faults, part_faults, redis_faults

if TYPE_CHECKING:
    from tests.fault.rig import Rig
    from tests.fault.trial import Fault

ON_THE_RIG: Final[tuple[Fault[Rig], ...]] = (
    *redis_faults.FAULTS,
    *part_faults.FAULTS,
    *kafka_faults.FAULTS,
    *network_faults.FAULTS,
)

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "test_embedded.py": tuple(fault.name for fault in embedded.FAULTS),
    "test_rig.py": tuple(fault.name for fault in ON_THE_RIG),
}
