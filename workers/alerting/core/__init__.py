"""What one line has seen and decided, and what follows. Pure: no clock, no Kafka, no PLC."""
