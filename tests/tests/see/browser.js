// Runs the script of a page of timings with as little of a browser as it asks for, steps through
// it by keys, and prints what it drew and said.
const fs = require("node:fs");
const vm = require("node:vm");
const page = fs.readFileSync(process.argv[1], "utf8");
const between = (from, to) => page.split(from)[1].split(to)[0];
const data = between('<script id="data" type="application/json">', "</script>");
const script = page.split("<script>\n")[1].split("</script>")[0];
let rects = 0;
const pen = new Proxy(
  { fillRect: () => { rects += 1; } },
  { get: (own, name) => own[name] || (() => {}), set: () => true },
);
const element = () => {
  const heard = {};
  return {
    textContent: "", style: {}, children: [], heard,
    clientWidth: 1000, clientHeight: 300,
    append(...own) { this.children.push(...own); },
    addEventListener(name, hear) { heard[name] = hear; },
    getContext: () => pen,
    getBoundingClientRect: () => ({ left: 0, top: 0 }),
  };
};
const known = {};
const document = {
  documentElement: element(),
  getElementById: (id) => (known[id] ||= element()),
  createElement: element,
};
document.getElementById("data").textContent = data;
const window = { devicePixelRatio: 2, addEventListener() {}, matchMedia: () => ({ addEventListener() {} }) };
const getComputedStyle = () => ({ getPropertyValue: () => "#123456" });
vm.runInNewContext(script, { document, window, getComputedStyle, requestAnimationFrame: (draw) => draw(), JSON, Math });
const chart = known.chart;
const press = (key) => {
  let taken = false;
  chart.heard.keydown({ key, preventDefault: () => { taken = true; } });
  if (!taken) throw new Error(`nobody takes ${key}`);
  return known.detail.textContent;
};
const first = press("n");
const second = press("n");
const back = press("p");
const path = press("c");
["+", "-", "ArrowLeft", "ArrowRight", "0", "Home"].forEach(press);
known.in.heard.click();
known.out.heard.click();
known.all.heard.click();
known.find.heard.input({ target: { value: "Archive" } });
for (let at = 0; at < 1000; at += 7) chart.heard.mousemove({ clientX: at, clientY: 30 });
chart.heard.wheel({ ctrlKey: true, deltaY: 1, clientX: 500, preventDefault() {} });
chart.heard.wheel({ ctrlKey: false });
console.log(JSON.stringify({ rects, first, second, back, path, legend: known.legend.children.length }));
