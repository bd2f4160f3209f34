"""Cut byte streams into protocol frames, with the framing itself as a plugin."""

from framestream._conditions import Decode, Framer, NeedMore, ReadCondition, Span, ValueSpan, Window
from framestream._decoder import DecoderStats, FrameDecoder, OnOversize
from framestream._errors import (
    EncodeError,
    FramerContractError,
    FramestreamError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    PluginError,
    SpecError,
    StreamBusy,
    StreamClosed,
    UnknownFramerError,
)
from framestream._iterate import aiter_frames, iter_frames
from framestream._signals import END, FRAME_END, NEED_DATA
