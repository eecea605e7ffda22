"""Names of the consumer groups."""

INSPECTION = "andon-inspection"
ALERTING = "andon-alerting"
