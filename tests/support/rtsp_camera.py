"""A camera that speaks RTSP: GStreamer's own server, which many cameras are built on.

Run by the system's Python, for whose GStreamer there is no wheel (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi,
gstreamer1.0-plugins-good and -ugly). Prints its port. Every picture shows the moment at which it was taken, as gray
bars: each a bit of the milliseconds, the highest first.
"""

import argparse
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, BITS = 320, 240, 16
CODECS = {
    "h264": "x264enc tune=zerolatency key-int-max=10 bitrate=4000 ! rtph264pay name=pay0 config-interval=1",
    "mjpeg": "jpegenc quality=90 ! rtpjpegpay name=pay0",
}
DIGEST = 2
"""GST_RTSP_AUTH_DIGEST, which has no name in Python."""


def picture():
    now = int(time.time() * 1000) % (1 << BITS)
    row = b"".join((b"\xd0" if now >> bit & 1 else b"\x30") * (WIDTH // BITS) for bit in reversed(range(BITS)))
    return row * HEIGHT + b"\x80" * (WIDTH * HEIGHT // 2)


def take_pictures(_factory, media, fps):
    source = media.get_element().get_by_name("pictures")

    def take():
        return source.emit("push-buffer", Gst.Buffer.new_wrapped(picture())) == Gst.FlowReturn.OK

    GLib.timeout_add(1000 // fps, take)


def ask_for(server, factory, user, password):
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    guard = GstRtspServer.RTSPAuth()
    guard.set_supported_methods(DIGEST)
    guard.add_digest(user, password, token)
    server.set_auth(guard)
    may = "media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(f"viewer, {may}"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--codec", choices=CODECS, default="h264")
    parser.add_argument("--fps", type=int, default=10)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--udp", action="store_true")
    asked = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    size = f"video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={asked.fps}/1"
    source = f"appsrc name=pictures is-live=true do-timestamp=true format=time caps={size}"
    factory.set_launch(f"( {source} ! {CODECS[asked.codec]} pt=96 )")
    factory.connect("media-configure", take_pictures, asked.fps)
    if asked.udp:
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    if asked.user:
        ask_for(server, factory, asked.user, asked.password)
    server.get_mount_points().add_factory("/line", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
