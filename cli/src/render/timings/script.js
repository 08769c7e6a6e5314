"use strict";
(() => {
  const [STAGE, SUBJECT, ROW, BEGIN, LENGTH, BAD, CRITICAL, WHY] = [0, 1, 2, 3, 4, 5, 6, 7];
  const HEIGHT = 18;
  const GAP = 3;
  const LEFT = 96;
  const TOP = 24;
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("data").textContent);
  const canvas = by("chart");
  const pen = canvas.getContext("2d");
  const wall = Math.max(data.wall, 1);
  const view = { from: 0, to: wall };
  let chosen = -1;
  let wanted = "";
  let waiting = false;

  const color = (stage) => `hsl(${(stage * 137) % 360} 55% 52%)`;
  const time = (us) =>
    us < 1e3 ? `${Math.round(us)} \u00b5s` : us < 1e6 ? `${(us / 1e3).toFixed(1)} ms` : `${(us / 1e6).toFixed(2)} s`;
  const name = (span) => `${data.stages[span[STAGE]]} ${span[SUBJECT]}`;
  const fits = (span) => wanted === "" || name(span).toLowerCase().includes(wanted);
  const css = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
  const width = () => Math.max(canvas.clientWidth - LEFT, 1);
  const x = (at) => LEFT + ((at - view.from) / (view.to - view.from)) * width();

  function step() {
    const rough = ((view.to - view.from) / width()) * 110;
    const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
    return [1, 2, 5, 10].map((own) => own * power).find((own) => own >= rough) || power * 10;
  }

  function draw() {
    waiting = false;
    const scale = window.devicePixelRatio || 1;
    const high = TOP + Math.max(data.lanes.length, 1) * (HEIGHT + GAP) + GAP;
    canvas.style.height = `${high}px`;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = high * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const [text, soft, line, row, bad, path] =
      ["--text", "--soft", "--line", "--row", "--bad", "--path"].map(css);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    data.lanes.forEach((lane, at) => {
      const y = TOP + at * (HEIGHT + GAP);
      pen.fillStyle = row;
      pen.fillRect(LEFT, y, width(), HEIGHT);
      pen.fillStyle = soft;
      pen.fillText(lane, 6, y + HEIGHT / 2, LEFT - 12);
    });
    const each = step();
    for (let at = Math.ceil(view.from / each) * each; at <= view.to; at += each) {
      pen.fillStyle = line;
      pen.fillRect(x(at), TOP - 6, 1, high - TOP + 6);
      pen.fillStyle = soft;
      pen.fillText(time(at), x(at) + 3, TOP / 2);
    }
    pen.save();
    pen.beginPath();
    pen.rect(LEFT, 0, width(), high);
    pen.clip();
    data.spans.forEach((span, at) => {
      if (span[BEGIN] > view.to || span[BEGIN] + span[LENGTH] < view.from) return;
      const left = x(span[BEGIN]);
      const wide = Math.max(x(span[BEGIN] + span[LENGTH]) - left, 1);
      const y = TOP + span[ROW] * (HEIGHT + GAP);
      pen.globalAlpha = fits(span) ? 1 : 0.15;
      pen.fillStyle = span[BAD] ? bad : color(span[STAGE]);
      pen.fillRect(left, y, wide, HEIGHT);
      if (span[CRITICAL]) {
        pen.fillStyle = path;
        pen.fillRect(left, y, wide, 2);
        pen.fillRect(left, y + HEIGHT - 2, wide, 2);
      }
      if (at === chosen) {
        pen.strokeStyle = text;
        pen.lineWidth = 2;
        pen.strokeRect(left - 1, y - 1, wide + 2, HEIGHT + 2);
      }
      if (wide > 46) {
        pen.fillStyle = "#ffffff";
        pen.save();
        pen.beginPath();
        pen.rect(left, y, wide - 4, HEIGHT);
        pen.clip();
        pen.fillText(name(span), left + 4, y + HEIGHT / 2 + 0.5);
        pen.restore();
      }
    });
    pen.restore();
  }

  function soon() {
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(draw);
    }
  }

  function show(from, to) {
    const length = Math.min(Math.max(to - from, 10), wall);
    view.from = Math.min(Math.max(from, 0), wall - length);
    view.to = view.from + length;
    soon();
  }

  function zoom(factor, around) {
    const at = around === undefined ? (view.from + view.to) / 2 : around;
    show(at - (at - view.from) * factor, at + (view.to - at) * factor);
  }

  function choose(at) {
    chosen = at;
    const span = data.spans[at];
    if (span) {
      const path = span[CRITICAL] ? ", on the longest path" : "";
      by("detail").textContent =
        `${name(span)}: ${time(span[LENGTH])}, from ${time(span[BEGIN])} on, ${data.lanes[span[ROW]]}${path}\n${span[WHY]}`;
    }
    soon();
  }

  function next(way, also) {
    const all = data.spans.length;
    for (let tried = 0, at = chosen; tried < all; tried += 1) {
      at = (((at + way) % all) + all) % all;
      const span = data.spans[at];
      if (fits(span) && also(span)) {
        if (span[BEGIN] < view.from || span[BEGIN] > view.to) {
          show(span[BEGIN] - (view.to - view.from) / 4, span[BEGIN] + ((view.to - view.from) * 3) / 4);
        }
        choose(at);
        return;
      }
    }
  }

  function under(event) {
    const box = canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    const row = Math.floor((top - TOP) / (HEIGHT + GAP));
    return data.spans.findIndex(
      (span) =>
        span[ROW] === row && left >= x(span[BEGIN]) - 1 && left <= Math.max(x(span[BEGIN] + span[LENGTH]), x(span[BEGIN]) + 1) + 1,
    );
  }

  const keys = {
    ArrowLeft: () => show(view.from - (view.to - view.from) / 5, view.to - (view.to - view.from) / 5),
    ArrowRight: () => show(view.from + (view.to - view.from) / 5, view.to + (view.to - view.from) / 5),
    "+": () => zoom(0.6),
    "=": () => zoom(0.6),
    "-": () => zoom(1 / 0.6),
    0: () => show(0, wall),
    Home: () => show(0, wall),
    n: () => next(1, () => true),
    p: () => next(-1, () => true),
    c: () => next(1, (span) => span[CRITICAL]),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = !event.ctrlKey && !event.metaKey && !event.altKey && keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  canvas.addEventListener("mousemove", (event) => {
    const at = under(event);
    if (at >= 0 && at !== chosen) choose(at);
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const left = event.clientX - canvas.getBoundingClientRect().left - LEFT;
      zoom(event.deltaY > 0 ? 1.25 : 0.8, view.from + (left / width()) * (view.to - view.from));
    },
    { passive: false },
  );
  by("in").addEventListener("click", () => zoom(0.6));
  by("out").addEventListener("click", () => zoom(1 / 0.6));
  by("all").addEventListener("click", () => show(0, wall));
  by("find").addEventListener("input", (event) => {
    wanted = event.target.value.trim().toLowerCase();
    soon();
  });
  const legend = (text, paint) => {
    const [item, mark] = [document.createElement("span"), document.createElement("i")];
    mark.style.background = paint;
    item.append(mark, text);
    by("legend").append(item);
  };
  data.stages.forEach((stage, at) => legend(stage, color(at)));
  legend("failed or cut off", "var(--bad)");
  legend("edged: longest path", "var(--path)");
  window.addEventListener("resize", soon);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  draw();
})();
