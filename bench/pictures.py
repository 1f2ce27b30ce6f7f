"""Curves on logarithmic axes as SVG, in the dress of the pictures of docs/study.md."""
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LEGEND, TITLE = 720, 260, 64, 12, 12, 40, 230, 26
DASHES = ("none", "6 3", "2 3", "9 3 2 3")
STYLE = """
text { font: 11px ui-monospace, monospace; fill: #5c6670; }
.title { font: 600 14px system-ui, sans-serif; fill: #1b1f24; }
.page { fill: #ffffff; } .ground { fill: #f5f7f9; } .grid { stroke: #d5dae0; }
.line0, .line1, .line2, .line3 { stroke-width: 1.6; }
.line0 { stroke: #1f5fa8; } .line1 { stroke: #b3261e; } .line2 { stroke: #1a7f4b; }
.line3 { stroke: #8a5a00; } polyline { fill: none; } circle { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #98a2ad; } .title { fill: #e4e8ec; } .page, circle { fill: #14171b; }
  .ground { fill: #1d2228; } .grid { stroke: #333a42; }
  .line0 { stroke: #79b4f2; } .line1 { stroke: #ff8a80; } .line2 { stroke: #5fcf94; }
  .line3 { stroke: #e6b450; }
}
"""


def short(number):
    """1024: 1k; 0.01: 0.01."""
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if number >= size and number % size == 0:
            return f"{number // size}{unit}"
    return f"{number:g}"


class Axes:
    """Of all lines of a plot: powers of two along x, of ten along y."""

    def __init__(self, lines):
        xs = [x for _, points in lines for x, _ in points]
        ys = [y for _, points in lines for _, y in points]
        self.x = (math.log2(min(xs)), math.log2(max(xs)))
        self.y = (math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys))))

    def at(self, x, y):
        across = (math.log2(x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0])
        return (LEFT + across * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))

    def svg(self, x_name, y_name):
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        out = [f'<rect class="ground" x="{LEFT}" y="{TOP}" width="{right - LEFT}" '
               f'height="{bottom - TOP}"/>']
        for power in range(math.ceil(self.x[0]), math.floor(self.x[1]) + 1):
            at, _ = self.at(2 ** power, 10 ** self.y[0])
            out.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
                       f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">'
                       f'{short(2 ** power)}</text>')
        for power in range(self.y[0], self.y[1] + 1):
            _, at = self.at(2 ** self.x[0], 10 ** power)
            out.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
                       f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
                       f'{10 ** power if power >= 0 else round(10 ** power, -power)}</text>')
        out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">'
                   f'{x_name}</text>')
        out.append(f'<text x="{LEFT + 6}" y="{TOP + 14}">{y_name}</text>')
        return out


def plot(lines, x_name, y_name):
    axes = Axes(lines)
    out = axes.svg(x_name, y_name)
    for i, (name, points) in enumerate(lines):
        places = [axes.at(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline class="line{i % 4}" stroke-dasharray="{DASHES[i % 4]}" '
                   f'points="{path}"/>')
        out += [f'<circle class="line{i % 4}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
                for x, y in places]
        y = TOP + 8 + 17 * i
        out.append(f'<line class="line{i % 4}" stroke-dasharray="{DASHES[i % 4]}" '
                   f'x1="{WIDTH + 4}" x2="{WIDTH + 36}" y1="{y}" y2="{y}"/>'
                   f'<text x="{WIDTH + 42}" y="{y + 4}">{name}</text>')
    return out


def write(path, label, plots):
    """plots: (title, lines, name of x, name of y); lines: (name, [(x, y)])."""
    height = len(plots) * (HEIGHT + TITLE)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
           f'width="{WIDTH + LEGEND}" height="{height}" viewBox="0 0 {WIDTH + LEGEND} {height}">',
           f"<style>{STYLE}</style>",
           f'<rect class="page" width="{WIDTH + LEGEND}" height="{height}"/>']
    for i, (title, lines, x_name, y_name) in enumerate(plots):
        out.append(f'<g transform="translate(0 {i * (HEIGHT + TITLE) + TITLE})">'
                   f'<text class="title" x="{LEFT}" y="-6">{title}</text>')
        out += plot([line for line in lines if line[1]], x_name, y_name)
        out.append("</g>")
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
