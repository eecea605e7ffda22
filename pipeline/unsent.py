"""What a connection has yet to send goes with it when it is closed.

The system goes on sending it else, for minutes, also for a process that has ended: where the network was away for half
a minute, it comes half a minute after it is back, behind whatever was sent meanwhile by another connection.
"""

import socket
import struct

FORGET_UNSENT = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""For `setsockopt`."""
