"""The limits within which a file is read: enough for every published network, small enough to refuse a bomb at once.

The process that opens files imports this module too, so it imports nothing.
"""

# What one file may contain
MAX_TENSORS = 15_000  # ResNet-1202 has 7,214
MAX_NAME = 500  # characters of a tensor's name
MAX_NAME_PARTS = 100  # between dots, slashes and underscores; a network's modules are nested 20 deep at most
MAX_DIMS = 8
MAX_EMPTY_SIDE = 2**20  # the longest side of a tensor that holds no numbers
MAX_SHARED = 2**20  # bytes that tensors may share beyond twice what the file stores
MAX_HEADER = 4_000_000  # bytes of JSON: a safetensors header (ResNet-1202 needs 0.8 MB) or the index of a sharded model
MAX_INDEX = 16_000_000  # bytes of JSON that the reader process may return
MAX_MEMBERS = 4 * MAX_TENSORS  # files in a zip archive
MAX_PARTS = 1_000  # files of a sharded model
MAX_PARTS_SECONDS = 60  # that reading all of them takes: real ones are few, and take less than a second each
MAX_OPCODES = 1_500_000  # of a pickle: ResNet-1202 with its optimizer's state takes 0.6 million
MAX_STACK = 200_000  # values that a pickle keeps waiting
MAX_MARKS = 1_000  # containers that a pickle has open at a time
MAX_DEPTH = 40  # of nested containers and modules
MAX_NODES = 5_000  # of an ONNX graph: DenseNet-264 has about 1,000
MAX_READERS = 1_500  # layers with weights of an ONNX graph
MAX_CHANNELS = 100_000  # of one value in an ONNX graph
MAX_WALKED_CHANNELS = 20_000_000  # of all values in an ONNX graph together
MAX_DEQUANTIZED = 100_000_000  # whole numbers for weights in an ONNX graph: DenseNet-264 (k=48) has 72 million
LARGE = 64_000_000  # bytes of a tensor that is read only if the network uses it; the largest of a DenseNet has 20
MAX_LISTED = 50  # names of what else a file contains

# What the reader process may use
READER_MEMORY = 160_000_000  # bytes of address space beyond what the interpreter and twice the file take
READER_SECONDS = 3  # of CPU time, and one more for every READER_RATE bytes of the file
READER_RATE = 100_000_000
READER_WALL_SECONDS = 4 * READER_SECONDS  # before it is killed, on a machine that is busy with other work
READER_OUTPUT = 128_000_000  # bytes of unpacked weights beyond the size of the file
