"""Fake defenses that only look robust, and a test that the installed suite detects them."""

from __future__ import annotations

from recgauntlet.testing.audit.fake import Fake
from recgauntlet.testing.audit.run import Audit, AuditRow, Measured, Subject, audit, train_subject
from recgauntlet.testing.audit.zoo import zoo

__all__ = ["Audit", "AuditRow", "Fake", "Measured", "Subject", "audit", "train_subject", "zoo"]
