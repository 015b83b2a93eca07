/* The part of the plane that is seen, and how mouse, fingers and wheel move it. World units are pixels at zoom 1. */
const MOST_ZOOM = 40;
const view = { x: 0, y: 0, zoom: 1, width: 0, height: 0 };

const screenX = (x) => (x - view.x) * view.zoom + view.width / 2;
const screenY = (y) => (y - view.y) * view.zoom + view.height / 2;
const worldX = (x) => (x - view.width / 2) / view.zoom + view.x;
const worldY = (y) => (y - view.height / 2) / view.zoom + view.y;

function keepInside() {
  const reachX = view.width / 2 / view.zoom, reachY = view.height / 2 / view.zoom;
  view.x = Math.min(view.width - reachX, Math.max(reachX, view.x));
  view.y = Math.min(view.height - reachY, Math.max(reachY, view.y));
}
function resetView() {
  view.zoom = 1;
  view.x = view.width / 2;
  view.y = view.height / 2;
}
/* Zooms so that what is at (x, y) on the screen stays there. */
function zoomAt(factor, x = view.width / 2, y = view.height / 2) {
  const beforeX = worldX(x), beforeY = worldY(y);
  view.zoom = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
  view.x += beforeX - worldX(x);
  view.y += beforeY - worldY(y);
  keepInside();
}
/* Moves so that a point of the world is seen, if it is not. */
function bringIn(x, y) {
  const margin = Math.min(40, view.width / 6);
  if (screenX(x) < margin || screenX(x) > view.width - margin) view.x = x;
  if (screenY(y) < margin || screenY(y) > view.height - margin) view.y = y;
  keepInside();
}

/* Calls on: moved() after the view has changed, hover(x, y), leave(), tap(x, y). */
function listen(canvas, on) {
  const fingers = new Map();
  let start = null, dragged = false, pinch = null;
  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const between = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, far: Math.hypot(a[0] - b[0], a[1] - b[1]) };
  };
  const pan = (dx, dy) => {
    view.x -= dx / view.zoom;
    view.y -= dy / view.zoom;
    keepInside();
    on.moved();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    const at = spot(event);
    fingers.set(event.pointerId, at);
    canvas.setPointerCapture(event.pointerId);
    if (fingers.size === 1) { start = at; dragged = false; }
    if (fingers.size === 2) { pinch = between(); dragged = true; on.leave(); }
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = spot(event), before = fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") on.hover(...at);
      return;
    }
    fingers.set(event.pointerId, at);
    if (fingers.size === 2) {
      const now = between();
      zoomAt(now.far / Math.max(1, pinch.far), pinch.x, pinch.y);
      pan(now.x - pinch.x, now.y - pinch.y);
      pinch = now;
      return;
    }
    if (!start || fingers.size > 2) return;
    if (!dragged && Math.hypot(at[0] - start[0], at[1] - start[1]) > 6) {
      dragged = true;
      on.leave();
    }
    if (dragged && view.zoom > 1) {
      canvas.classList.add("dragged");
      pan(at[0] - before[0], at[1] - before[1]);
    }
  });
  const release = (event, tapped) => {
    const at = fingers.get(event.pointerId);
    fingers.delete(event.pointerId);
    if (tapped && at && start && !dragged) on.tap(...at);
    if (!fingers.size) {
      start = null;
      canvas.classList.remove("dragged");
    }
  };
  canvas.addEventListener("pointerup", (event) => release(event, true));
  canvas.addEventListener("pointercancel", (event) => release(event, false));
  canvas.addEventListener("pointerleave", () => { if (!fingers.size) on.leave(); });
  /* Two fingers zoom the pictures, not the page. */
  canvas.addEventListener("touchstart", (event) => { if (event.touches.length > 1) event.preventDefault(); }, { passive: false });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.004)), ...spot(event));
    on.moved();
  }, { passive: false });
}
