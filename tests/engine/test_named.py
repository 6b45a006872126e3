"""A vendor that can tell a value by its content names it at adoption; no operator then names another by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.engine.adoption import Adoption, adopt
from keyturn.errors import RefusedError
from keyturn.secret import Bundle
from keyturn.testing.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(folder=tmp_path, fake="second-key")


def adopted(rig: Rig, bundle: Bundle, handle: str | None) -> str | None:
    bench = rig.bench()
    try:
        adopt(bench, rig.job(bench), Adoption(bundle=bundle, handle=handle))
    finally:
        bench.journal.close()
    current = rig.state().current
    return current.handle if current else None


def test_a_value_is_adopted_under_the_name_that_the_vendor_tells_by_it(rig: Rig) -> None:
    handle, bundle, _ = rig.vendor.seed()
    rig.vendor.seed()
    assert adopted(rig, bundle, None) == handle


def test_the_name_of_another_credential_is_refused_since_retiring_goes_by_it(rig: Rig) -> None:
    handle, bundle, _ = rig.vendor.seed()
    other, _, _ = rig.vendor.seed()
    with pytest.raises(RefusedError) as refused:
        adopted(rig, bundle, other)
    assert refused.value.code == "handle-differs"
    assert str(refused.value.message).startswith(f"at the vendor this value is {handle}, not ")
    assert rig.state().current is None
