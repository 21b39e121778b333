"""What an operator needs: logs, alerts, reports, metrics, backups, and what may be deleted."""
