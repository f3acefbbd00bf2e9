// The image with its points: zoom, movement, mouse, keyboard, undo. Points are fractions of the image.
const RADIUS = 10, GRAB = 12, MAX_ZOOM = 24;
const svg = (name, attributes, text = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Stage {
  constructor(box, picture, marks, onChange) {
    Object.assign(this, { box, picture, marks, onChange, size: [1, 1], zoom: 1, offset: [0, 0], points: [], past: [], future: [] });
    this.editable = true;
    this.cursor = null;
    this.others = [];
    picture.addEventListener("load", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
    box.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    box.addEventListener("pointerdown", (event) => this.onDown(event));
    box.addEventListener("pointermove", (event) => this.onMove(event));
    box.addEventListener("pointerup", (event) => this.onUp(event));
    box.addEventListener("pointercancel", () => { this.drag = null; });
    box.addEventListener("contextmenu", (event) => event.preventDefault());
    box.addEventListener("keydown", (event) => this.onKey(event));
    box.addEventListener("keyup", (event) => { if (event.key === " ") this.space = false; });
    box.addEventListener("blur", () => { this.space = false; this.cursor = null; this.draw(); });
  }

  show(source, size) {
    this.size = size;
    this.zoom = 1;
    this.offset = [0, 0];
    this.cursor = null;
    this.picture.src = source;
    this.draw();
  }

  // others: [{colour, points}], drawn beneath the points that can be edited.
  reset(points, others = []) {
    this.points = points.map((point) => [...point]);
    this.others = others;
    this.past = [];
    this.future = [];
    this.draw();
    this.onChange?.();
  }

  change(points) {
    if (!this.editable) return;
    this.past.push(this.points);
    this.future = [];
    this.points = points;
    this.draw();
    this.onChange?.();
  }

  undo() { this.step(this.past, this.future); }
  redo() { this.step(this.future, this.past); }
  step(from, to) {
    if (!from.length) return;
    to.push(this.points);
    this.points = from.pop();
    this.draw();
    this.onChange?.();
  }

  // Left, top, width and height of the image on the stage, in CSS pixels.
  get frame() {
    const { clientWidth, clientHeight } = this.box;
    const fit = Math.min((clientWidth - 24) / this.size[0], (clientHeight - 24) / this.size[1]);
    const [width, height] = this.size.map((side) => Math.max(side * fit * this.zoom, 1));
    return [(clientWidth - width) / 2 + this.offset[0], (clientHeight - height) / 2 + this.offset[1], width, height];
  }

  at(event) {
    const [left, top, width, height] = this.frame, box = this.box.getBoundingClientRect();
    return [(event.clientX - box.left - left) / width, (event.clientY - box.top - top) / height];
  }

  // The index of the point under a place, or -1.
  near([x, y], reach = GRAB) {
    const [, , width, height] = this.frame;
    const distances = this.points.map(([a, b]) => Math.hypot((a - x) * width, (b - y) * height));
    const best = distances.indexOf(Math.min(...distances));
    return best >= 0 && distances[best] <= reach ? best : -1;
  }

  zoomBy(factor, centre = null) {
    const [left, top, width, height] = this.frame;
    const [cx, cy] = centre ?? [this.box.clientWidth / 2, this.box.clientHeight / 2];
    const x = (cx - left) / width, y = (cy - top) / height;
    this.zoom = clamp(this.zoom * factor, 1, MAX_ZOOM);
    if (this.zoom === 1) this.offset = [0, 0];
    else {
      const [newLeft, newTop, newWidth, newHeight] = this.frame;
      this.offset[0] += cx - (newLeft + x * newWidth);
      this.offset[1] += cy - (newTop + y * newHeight);
    }
    this.draw();
    this.onChange?.();
  }

  whole() { this.zoom = 1; this.offset = [0, 0]; this.draw(); this.onChange?.(); }

  onWheel(event) {
    event.preventDefault();
    const box = this.box.getBoundingClientRect();
    this.zoomBy(Math.exp(-clamp(event.deltaY, -200, 200) / 300), [event.clientX - box.left, event.clientY - box.top]);
  }

  onDown(event) {
    this.box.focus({ preventScroll: true });
    this.cursor = null;
    const place = this.at(event), hit = this.near(place);
    if (event.button === 1 || (event.button === 0 && this.space)) {
      this.drag = { from: [event.clientX, event.clientY], offset: [...this.offset] };
      this.box.classList.add("moving");
    } else if (event.button === 2) {
      if (hit >= 0) this.change(this.points.filter((_, index) => index !== hit));
    } else if (event.button === 0 && this.editable) {
      if (hit >= 0) this.drag = { index: hit, before: this.points, moved: false };
      else if (place.every((value) => value >= 0 && value <= 1)) this.change([...this.points, place]);
    }
    if (this.drag) this.box.setPointerCapture(event.pointerId);
  }

  onMove(event) {
    if (!this.drag) return;
    if (this.drag.from) {
      this.offset = [0, 1].map((i) => this.drag.offset[i] + [event.clientX, event.clientY][i] - this.drag.from[i]);
    } else {
      const place = this.at(event).map((value) => clamp(value, 0, 1));
      this.points = this.drag.before.map((point, index) => (index === this.drag.index ? place : point));
      this.drag.moved = true;
    }
    this.draw();
  }

  onUp() {
    const drag = this.drag;
    this.drag = null;
    this.box.classList.remove("moving");
    if (!drag?.moved) return;
    const points = this.points;
    this.points = drag.before;
    this.change(points);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const [, , width, height] = this.frame;
    if (event.key in steps) {
      const far = event.shiftKey ? 40 : 4, [dx, dy] = steps[event.key];
      const [x, y] = this.cursor ?? [0.5, 0.5];
      this.cursor = [clamp(x + (dx * far) / width, 0, 1), clamp(y + (dy * far) / height, 0, 1)];
    } else if (event.key === "Enter") {
      if (!this.cursor) this.cursor = [0.5, 0.5];
      else if (this.near(this.cursor, 1) < 0) this.change([...this.points, [...this.cursor]]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      const hit = this.cursor ? this.near(this.cursor, 40) : this.points.length - 1;
      if (hit >= 0) this.change(this.points.filter((_, index) => index !== hit));
    } else if (event.key === " ") this.space = true;
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.whole();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  draw() {
    const [left, top, width, height] = this.frame;
    Object.assign(this.picture.style, {
      left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px`,
      imageRendering: width > 3 * this.size[0] ? "pixelated" : "auto",
    });
    const place = ([x, y]) => ({ cx: left + x * width, cy: top + y * height });
    const shapes = [];
    // Rings of growing size: where several annotators set a point, each can be told.
    this.others.forEach(({ colour, points }, side) => {
      for (const point of points)
        shapes.push(svg("circle", { ...place(point), r: RADIUS - 4 + 5 * side, class: "other", stroke: colour }));
    });
    this.points.forEach((point, index) => {
      const { cx, cy } = place(point);
      shapes.push(svg("circle", { cx, cy, r: RADIUS, class: "point" }));
      shapes.push(svg("text", { x: cx, y: cy }, index + 1));
    });
    if (this.cursor) {
      const { cx, cy } = place(this.cursor);
      const path = `M${cx - 16} ${cy}h32M${cx} ${cy - 16}v32`;
      shapes.push(svg("path", { d: path, class: "cross" }), svg("path", { d: path, class: "cross" }));
    }
    this.marks.replaceChildren(...shapes);
  }
}
