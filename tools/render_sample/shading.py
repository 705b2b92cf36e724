"""A small vocabulary over Blender's shader nodes, and colours."""

import math
from collections.abc import Sequence

import bpy

from tools.render_sample.draw import Draw

Colour = tuple[float, float, float, float]
Input = bpy.types.NodeSocket | float | Colour | str  # a str is a colour such as "c0392b"

PRINCIPLED = {
    "colour": "Base Color", "roughness": "Roughness", "normal": "Normal", "metallic": "Metallic",
    "specular": "Specular IOR Level", "coat": "Coat Weight", "coat_roughness": "Coat Roughness",
    "subsurface": "Subsurface Weight", "subsurface_scale": "Subsurface Scale", "sheen": "Sheen Weight",
    "transmission": "Transmission Weight", "ior": "IOR", "emission": "Emission Color",
    "emission_strength": "Emission Strength",
}  # fmt: skip


def linear(colour: str | Sequence[float]) -> Colour:
    """Return a linear RGBA colour from a hexadecimal sRGB one; tuples pass through."""
    if not isinstance(colour, str):
        return tuple(colour)
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return (*(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels), 1.0)


def vary(rng: Draw, colour: str, amount: float = 0.08) -> Colour:
    """Return the colour, a little lighter or darker and of another tint."""
    gain = math.exp(rng.normal(amount))
    channels = (c * gain * math.exp(rng.normal(amount * 0.6)) for c in linear(colour)[:3])
    return (*(min(1.0, c) for c in channels), 1.0)


class Shader:
    """A material under construction: methods add nodes and return their output sockets."""

    def __init__(self, shift: float = 0.0) -> None:
        self.material = bpy.data.materials.new("material")
        self.nodes, self.links = self.material.node_tree.nodes, self.material.node_tree.links
        self.surface = next(node for node in self.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
        self._shift = shift
        self._position: bpy.types.NodeSocket | None = None

    def _connect(self, socket: bpy.types.NodeSocket, value: Input | None) -> None:
        """Feed a socket from another one, or set its value; None leaves it as it is."""
        if value is None:
            return
        if isinstance(value, bpy.types.NodeSocket):
            self.links.new(value, socket)
        else:
            socket.default_value = linear(value) if socket.type == "RGBA" else value

    def _node(self, kind: str, inputs: Sequence[Input | None] = (), **settings: str) -> bpy.types.Node:
        """Add a node, feed its first inputs and set its properties."""
        node = self.nodes.new(f"ShaderNode{kind}")
        for name, value in settings.items():
            setattr(node, name, value)
        for socket, value in zip(node.inputs, inputs, strict=False):
            self._connect(socket, value)
        return node

    def position(self) -> bpy.types.NodeSocket:
        """Return object coordinates, shifted at random from object to object."""
        if self._position is None:
            identity = self._node("ObjectInfo").outputs["Random"]
            shift = self.math("MULTIPLY_ADD", identity, 37.0, self._shift)
            self._position = self._node("VectorMath", [self.plain_position(), shift], operation="ADD").outputs[0]
        return self._position

    def plain_position(self) -> bpy.types.NodeSocket:
        """Return object coordinates as they are."""
        return self._node("TexCoord").outputs["Object"]

    def stretched(self, scale: Sequence[float], turn: float = 0.0) -> bpy.types.NodeSocket:
        """Return shifted object coordinates, turned about z and scaled axis by axis."""
        node = self._node("Mapping", [self.position()])
        node.inputs["Scale"].default_value = scale
        node.inputs["Rotation"].default_value = (0, 0, turn)
        return node.outputs[0]

    def axes(self, vector: bpy.types.NodeSocket | None = None) -> Sequence[bpy.types.NodeSocket]:
        """Return x, y and z of a vector: of the object coordinates unless told."""
        return self._node("SeparateXYZ", [vector or self.plain_position()]).outputs

    def noise(
        self, scale: float, detail: float = 4, roughness: float = 0.55, distortion: float = 0.0,
        vector: bpy.types.NodeSocket | None = None,
    ) -> bpy.types.NodeSocket:  # fmt: skip
        """Return fractal noise; its values crowd around 0.5."""
        node = self._node("TexNoise")
        wanted = {"Vector": vector or self.position(), "Scale": scale, "Detail": detail,
                  "Roughness": roughness, "Distortion": distortion}  # fmt: skip
        for name, value in wanted.items():
            self._connect(node.inputs[name], value)
        return node.outputs[0]

    def cells(self, scale: float) -> bpy.types.NodeSocket:
        """Return the distance to the nearest of many scattered points."""
        node = self._node("TexVoronoi")
        self._connect(node.inputs["Vector"], self.position())
        self._connect(node.inputs["Scale"], scale)
        return node.outputs["Distance"]

    def waves(
        self, scale: float, distortion: float, vector: bpy.types.NodeSocket | None = None
    ) -> bpy.types.NodeSocket:
        """Return bands across x, bent by noise."""
        node = self._node("TexWave", wave_type="BANDS", bands_direction="X")
        wanted = {"Vector": vector or self.position(), "Scale": scale, "Distortion": distortion,
                  "Detail": 3.0, "Detail Scale": 1.2}  # fmt: skip
        for name, value in wanted.items():
            self._connect(node.inputs[name], value)
        return node.outputs["Factor"]

    def ramp(self, value: Input, stops: Sequence[tuple[float, str | Colour]]) -> bpy.types.NodeSocket:
        """Return the colour at `value` between (position, colour) stops in rising order."""
        node = self._node("ValToRGB", [value])
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, colour) in zip(elements, stops, strict=True):
            element.position, element.color = position, linear(colour)
        return node.outputs[0]

    def mix(self, share: Input, first: Input, second: Input, blend: str = "MIX") -> bpy.types.NodeSocket:
        """Return `first` with a share of the colour `second` mixed in."""
        node = self._node("Mix", data_type="RGBA", blend_type=blend)
        for index, value in ((0, share), (6, first), (7, second)):  # in RGBA mode sockets go by index
            self._connect(node.inputs[index], value)
        return node.outputs[2]

    def math(self, operation: str, *values: Input) -> bpy.types.NodeSocket:
        """Return the result of one arithmetic operation."""
        return self._node("Math", values, operation=operation).outputs[0]

    def blend(self, *terms: tuple[Input, float]) -> bpy.types.NodeSocket:
        """Return the weighted sum of (value, weight) terms."""
        total: Input = 0.0
        for value, weight in terms:
            total = self.math("MULTIPLY_ADD", value, weight, total)
        return total

    def step(self, value: Input, low: float, high: float, start: float = 0.0, end: float = 1.0) -> bpy.types.NodeSocket:
        """Return `start` below `low`, `end` above `high` (or the reverse), smooth between."""
        node = self._node("MapRange", [value, low, high, start, end], interpolation_type="SMOOTHSTEP")
        return node.outputs[0]

    def mask(self, name: str) -> bpy.types.NodeSocket:
        """Return a mask that the mesh carries."""
        return self._node("Attribute", attribute_name=name).outputs["Fac"]

    def bump(self, height: Input, strength: float, distance: float) -> bpy.types.NodeSocket:
        """Return normals bent by a height."""
        node = self._node("Bump")
        for name, value in (("Height", height), ("Strength", strength), ("Distance", distance)):
            self._connect(node.inputs[name], value)
        return node.outputs[0]

    def finish(self, **inputs: Input) -> bpy.types.Material:
        """Set the surface (names as in PRINCIPLED) and return the material."""
        for name, value in inputs.items():
            self._connect(self.surface.inputs[PRINCIPLED[name]], value)
        return self.material


def plain(colour: Input, roughness: float = 0.5, **inputs: Input) -> bpy.types.Material:
    """Return a material of one colour."""
    return Shader().finish(colour=colour, roughness=roughness, **inputs)
