"""A real RTSP server (GStreamer's) in a process of its own, run by the system's Python, which has its bindings.

`rtsp_server.py USER PASSWORD`: prints two ports, of a server for everyone and of one with
a login; both serve `STREAMS` until its input is closed.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PICTURES = "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate="
STREAMS = {
    "/mjpeg": PICTURES + "20/1,format=I420 ! jpegenc ! rtpjpegpay name=pay0 pt=26",
    "/vp8": PICTURES + "20/1 ! vp8enc deadline=1 keyframe-max-dist=5 ! rtpvp8pay name=pay0 pt=96",
    "/slow": PICTURES + "1/2,format=I420 ! jpegenc ! rtpjpegpay name=pay0 pt=26",
    "/sound": "audiotestsrc is-live=true ! mulawenc ! rtppcmupay name=pay0 pt=0",
    "/odd": PICTURES + "20/1,format=UYVY ! rtpvrawpay name=pay0 pt=96",
}


def serving(streams: dict[str, str]) -> GstRtspServer.RTSPServer:
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    for path, launch in streams.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(f"( {launch} )")
        permissions = GstRtspServer.RTSPPermissions.new()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    return server


def guarded(server: GstRtspServer.RTSPServer, user: str, password: str) -> None:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def main(user: str, password: str) -> None:
    Gst.init(None)
    everyone, few = serving(STREAMS), serving(STREAMS)
    guarded(few, user, password)
    for server in (everyone, few):
        server.attach(None)
    print(everyone.get_bound_port(), few.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main(*sys.argv[1:])
