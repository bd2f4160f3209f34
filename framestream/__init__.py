"""Cut byte streams into protocol frames, with the framing itself as a plugin."""

from framestream._conditions import Decode, Framer, NeedMore, ReadCondition, Span, Window
from framestream._decoder import FrameDecoder
from framestream._errors import FramestreamError
