"""GenICam cameras (GigE Vision, USB3 Vision, …) through their maker's GenTL producer."""
