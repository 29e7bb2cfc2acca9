"""Everything between two parts breaks, and the parts themselves: what clients were told is so, and they are served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fault.report import marked, settle
from tests.fault.rig import PREFIX, Rig, running_rig
from tests.fault.table import ON_THE_RIG
from tests.fault.trial import TRIAL_SECONDS_MAX, Fault, Trial
from tests.real.fixtures import binary_of, lacking
from tests.real.kafka import kafka_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.real,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(TRIAL_SECONDS_MAX),
]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    if (missing := kafka_missing()) is not None:
        lacking(missing)
    yield from running_rig(tmp_path_factory.mktemp("rig"), binary_of("redis"))


@pytest.mark.parametrize("fault", marked(ON_THE_RIG))
async def test_nothing_is_lost_or_doubled(
    fault: Fault[Rig], rig: Rig, record_property: Callable[[str, object], None]
) -> None:
    await settle(Trial(rig, PREFIX, fault), record_property)
