"""The documented surface of NCSDK2's Python module: `f`, devices, graphs, their options; no broken NumPy calls."""

import ctypes
import enum

f = ctypes.CDLL("libmvnc.so")


class Status(enum.Enum):
    OK = 0
    BUSY = -1
    ERROR = -2
    OUT_OF_MEMORY = -3
    DEVICE_NOT_FOUND = -4
    INVALID_PARAMETERS = -5
    TIMEOUT = -6
    MVCMD_NOT_FOUND = -7
    NOT_ALLOCATED = -8
    UNAUTHORIZED = -9
    UNSUPPORTED_GRAPH_FILE = -10
    UNSUPPORTED_CONFIGURATION_FILE = -11
    UNSUPPORTED_FEATURE = -12
    MYRIAD_ERROR = -13
    INVALID_DATA_LENGTH = -14
    INVALID_HANDLE = -15


class DeviceOption(enum.Enum):
    RO_THERMAL_STATS = 2000
    RO_THERMAL_THROTTLING_LEVEL = 2001
    RO_DEVICE_NAME = 2013


class GraphOption(enum.Enum):
    RO_INPUT_TENSOR_DESCRIPTORS = 1004
    RO_DEBUG_INFO = 1006


class FifoOption(enum.Enum):
    RO_ELEMENT_DATA_SIZE = 10


class TensorDescriptor(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint) for name in ("n", "c", "w", "h", "totalSize", "cStride", "wStride", "hStride", "dataType")
    ]


def _check(status):
    if status != 0:
        raise Exception(Status(status))


def _option(function, handle, option, room):
    data = ctypes.create_string_buffer(room)
    size = ctypes.c_uint(room)
    _check(function(handle, option.value, data, ctypes.byref(size)))
    return data.raw[: size.value]


def _text(raw):
    return raw.partition(b"\0")[0].decode()


def enumerate_devices():
    handles = []
    while True:
        handle = ctypes.c_void_p()
        if f.ncDeviceCreate(len(handles), ctypes.byref(handle)) != 0:
            return handles
        handles.append(handle)


class Device:
    def __init__(self, handle):
        self.handle = handle

    def open(self):
        _check(f.ncDeviceOpen(self.handle))

    def close(self):
        _check(f.ncDeviceClose(self.handle))

    def destroy(self):
        _check(f.ncDeviceDestroy(ctypes.byref(self.handle)))

    def get_option(self, option):
        raw = _option(f.ncDeviceGetOption, self.handle, option, 100)
        if option is DeviceOption.RO_THERMAL_STATS:
            return list((ctypes.c_float * 25).from_buffer_copy(raw))
        return _text(raw) if option is DeviceOption.RO_DEVICE_NAME else int.from_bytes(raw, "little")


class Fifo:
    def __init__(self):
        self.handle = ctypes.c_void_p()

    def get_option(self, option):
        return int.from_bytes(_option(f.ncFifoGetOption, self.handle, option, 4), "little")

    def destroy(self):
        _check(f.ncFifoDestroy(ctypes.byref(self.handle)))


class Graph:
    def __init__(self, name):
        self.handle = ctypes.c_void_p()
        _check(f.ncGraphCreate(name.encode("ascii"), ctypes.byref(self.handle)))

    def allocate_with_fifos(self, device, graph_buffer):
        fifos = Fifo(), Fifo()
        data, count = ctypes.c_int(1), ctypes.c_uint(2)
        host = [(ctypes.byref(fifo.handle), type_, count, data) for fifo, type_ in zip(fifos, (1, 0), strict=True)]
        size = len(graph_buffer)
        _check(f.ncGraphAllocateWithFifosEx(device.handle, self.handle, graph_buffer, size, *host[0], *host[1]))
        return fifos

    def get_option(self, option):
        if option is GraphOption.RO_DEBUG_INFO:
            return _text(_option(f.ncGraphGetOption, self.handle, option, 120))
        raw = _option(f.ncGraphGetOption, self.handle, option, ctypes.sizeof(TensorDescriptor))
        return [TensorDescriptor.from_buffer_copy(raw)]

    def destroy(self):
        _check(f.ncGraphDestroy(ctypes.byref(self.handle)))
