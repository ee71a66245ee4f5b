"""The training step as CUDA graphs: one launch replays all kernels of a step."""

import torch

from common.params import ParameterError


class GraphedStep:
    """step(*tensors), captured at the first call per number of tensors, then replayed.

    None arguments are dropped. Each call overwrites the tensors that the last one returned. Load
    checkpoints before the first call: optimizer.load_state_dict creates new tensors, unknown to
    the graph. Capture restores the models and the optimizer, which its warm-up steps modify.
    """

    def __init__(self, step, models, optimizer):
        self.step, self.models, self.optimizer = step, models, optimizer
        self.graphs = {}

    def __call__(self, *arguments):
        tensors = [argument for argument in arguments if argument is not None]
        if len(tensors) not in self.graphs:
            self.graphs[len(tensors)] = self.capture(tensors)
        graph, inputs, outputs = self.graphs[len(tensors)]
        for held, given in zip(inputs, tensors, strict=True):
            held.copy_(given)
        graph.replay()
        return outputs

    def state(self):
        """All tensors that the step modifies in place."""
        states = [model.state_dict() for model in self.models] + [*self.optimizer.state.values()]
        return [tensor for state in states for tensor in state.values()]

    def capture(self, tensors):
        """The graph, its input tensors and its output tensors."""
        inputs, graph = [tensor.clone() for tensor in tensors], torch.cuda.CUDAGraph()
        before = [(tensor, tensor.clone()) for tensor in self.state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # warm-up: libraries choose kernels and allocate workspaces
                self.step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        try:
            with torch.cuda.graph(graph):
                outputs = self.step(*inputs)
        except RuntimeError as error:
            cause = error.__context__ or error  # ending a failed capture raises another error
            reason = f"could not capture the training step as a CUDA graph: {cause}"
            message = f"{' '.join(reason.split())}; set it to cpu"
            raise ParameterError("train.device", message) from cause
        for tensor in self.state():  # including new ones: momenta, which start at zero
            tensor.zero_()
        for tensor, value in before:
            tensor.copy_(value)
        return graph, inputs, outputs
