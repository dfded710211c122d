// uPlot charts from <script type="application/json" id="data-…">:
//   series  [{name, kind, steps, values, source}]; kind is line, dots (few, marked points), raw (thin, grey,
//           not in the readout) or smooth (a moving average of its values); source names it in the stream
//   x       "step" (default) or "time" (seconds since 1970)      x_end  where the x axis ends, if known
//   unit    printed after values in the readout                  zero   true: the y axis starts at 0
//   line    [value, "target 800 ms"]: a dashed limit             stream URL whose `metrics` events append points
(() => {
  const d = document;
  const probe = d.createElement("i"); probe.hidden = true; d.body.append(probe);
  const token = name => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  const FONT = "11px 'Instrument Sans'", COLOURS = ["--s1", "--s2", "--s3", "--s4", "--s5"];
  const charts = [];

  const number = (v, unit) => {
    if (v == null) return "–";
    const size = Math.abs(v);
    if (unit && size < 100) return v ? v.toFixed(1) : "0";
    if (size >= 1000) return Math.round(v).toLocaleString("en");
    if (size >= 100) return v.toFixed(0);
    if (size >= 10) return v.toFixed(1);
    return size >= .01 || v === 0 ? v.toFixed(3) : v.toExponential(2);
  };
  const tick = v => v === 0 ? "0" : Math.abs(v) < .001 ? v.toExponential(0) : Math.abs(v) >= 10000 ? `${+(v / 1000).toFixed(1)}k` : String(+v.toFixed(3));
  // A day in words where the axis is longer than a day and a half.
  const isLong = ([first, ...rest]) => (rest.at(-1) ?? first) - first > 130000;
  const day = seconds => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const clock = seconds => new Date(seconds * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const average = values => {
    const reach = Math.min(12, Math.floor(values.length / 20));
    return values.map((_, i) => { const near = values.slice(Math.max(0, i - reach), i + reach + 1); return near.reduce((a, b) => a + b, 0) / near.length; });
  };

  // One x axis for all series; a series without a value at a step has a gap there.
  const table = series => {
    const steps = [...new Set(series.flatMap(one => one.steps))].sort((a, b) => a - b);
    return [steps, ...series.map(one => {
      const values = one.kind === "smooth" ? average(one.values) : one.values;
      const at = new Map(one.steps.map((step, i) => [step, values[i]]));
      return steps.map(step => at.has(step) ? at.get(step) : null);
    })];
  };
  // Colours in order of use; raw lines are grey and take none.
  const colours = series => { let used = 0; return series.map(one => one.kind === "raw" ? "--line-2" : COLOURS[used++ % COLOURS.length]); };
  const style = (one, colour, isTime) => {
    const isDots = one.kind === "dots", marked = isDots || (one.kind !== "raw" && one.steps.length < 30);
    // Between two gaps there is no line to see, so such a value is marked.
    const lonely = (plot, i, shown) => shown ? null : plot.data[i].flatMap((v, at, all) => v != null && all[at - 1] == null && all[at + 1] == null ? [at] : []);
    return { label: one.name, stroke: token(colour), width: one.kind === "raw" ? 1 : 1.75, spanGaps: !isTime, ...(isDots && { paths: () => null }),
      points: { show: marked, filter: isTime ? lonely : undefined, size: isDots ? 7 : 5, fill: token("--surface"), width: 1.75 } };
  };
  const limit = ([value, words]) => plot => {
    const pen = plot.ctx, ratio = devicePixelRatio, y = Math.round(plot.valToPos(value, "y", true)) + .5, right = plot.bbox.left + plot.bbox.width;
    pen.save();
    pen.strokeStyle = pen.fillStyle = token("--warn"); pen.lineWidth = ratio; pen.setLineDash([4 * ratio, 4 * ratio]);
    pen.beginPath(); pen.moveTo(plot.bbox.left, y); pen.lineTo(right, y); pen.stroke();
    pen.font = FONT.replace("11", String(11 * ratio)); pen.textAlign = "right"; pen.fillText(words, right - 2, y - 7 * ratio);
    pen.restore();
  };
  const yRange = spec => (_, low, high) => {
    if (low == null) return [0, 1];
    const top = Math.max(high, spec.line?.[0] ?? high), room = (top - low || Math.abs(top) || 1) * .08;
    return [spec.zero ? 0 : low - room, top + room];
  };

  function readout({ el, spec, plot }) {
    const box = d.querySelector(`[data-readout="${el.dataset.chart}"]`);
    if (!box || !plot.data[0].length) return;
    const place = plot.cursor.idx ?? plot.data[0].length - 1, x = plot.data[0][place];
    const cell = (words, value, colour, kind) => {
      const span = d.createElement("span"), bold = d.createElement("b");
      if (colour) { const key = d.createElement("i"); key.style.setProperty("--c", `var(${colour})`); key.classList.toggle("dot", kind === "dots"); span.append(key); }
      bold.textContent = value; span.append(words ? `${words} ` : "", bold, colour && spec.unit ? ` ${spec.unit}` : "");
      return span;
    };
    const cells = spec.series.map((one, i) => {
      let at = place;
      while (spec.x !== "time" && at > 0 && plot.data[i + 1][at] == null) at--;
      return one.kind === "raw" ? null : cell(one.name, number(plot.data[i + 1][at], spec.unit), colours(spec.series)[i], one.kind);
    });
    box.replaceChildren(spec.x === "time" ? cell("", isLong(plot.data[0]) ? `${day(x)} ${clock(x)}` : clock(x)) : cell("step", x.toLocaleString("en")), ...cells.filter(Boolean));
  }

  function draw(chart) {
    const { el, spec } = chart, isTime = spec.x === "time", colour = colours(spec.series);
    const axis = { stroke: token("--ink-3"), font: FONT, grid: { stroke: token("--grid"), width: 1 }, ticks: { show: false }, gap: 6 };
    const horizontal = isTime ? { values: (plot, ticks) => ticks.map(isLong(plot.data[0]) ? day : clock) } : {};
    chart.plot?.destroy(); el.replaceChildren();
    chart.plot = new uPlot({
      width: el.clientWidth, height: +el.dataset.height, padding: [10, 14, 0, 0], legend: { show: false },
      cursor: { y: false, points: { size: 7 }, sync: { key: isTime ? "time" : "step" }, drag: { x: true, y: false } },
      scales: { x: { time: isTime, range: (_, low, high) => [spec.x_end ? 0 : low ?? 0, Math.max(spec.x_end || 0, high ?? 1)] }, y: { range: yRange(spec) } },
      axes: [{ ...axis, grid: { show: false }, size: 26, space: 70, ...horizontal }, { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map(tick) }],
      series: [{}, ...spec.series.map((one, i) => style(one, colour[i], isTime))],
      hooks: { setCursor: [plot => readout({ el, spec, plot })], draw: spec.line ? [limit(spec.line)] : [] },
    }, table(spec.series), el);
    readout(chart);
  }

  // New points from the stream: [[series name, step, value], …].
  const append = points => charts.forEach(chart => {
    const before = chart.spec.series.map(one => one.steps.length);
    for (const [name, step, value] of points) {
      for (const one of chart.spec.series) {
        one.seen ??= new Set(one.steps);
        if ((one.source || one.name) !== name || one.seen.has(step)) continue;
        one.seen.add(step); one.steps.push(step); one.values.push(value);
      }
    }
    const grown = chart.spec.series.filter((one, i) => one.steps.length > before[i]);
    if (!grown.length || !chart.plot) return;
    // Past 30 points a line loses its marks, which needs a new plot; else the zoom stays.
    if (chart.spec.series.some((one, i) => before[i] < 30 && one.steps.length >= 30)) return draw(chart);
    chart.plot.setData(table(chart.spec.series)); readout(chart);
  });

  const add = el => {
    el.style.height = `${el.dataset.height}px`;
    charts.push({ el, spec: JSON.parse(d.getElementById(`data-${el.dataset.chart}`).textContent) });
    return charts.at(-1);
  };
  d.querySelectorAll("[data-chart]").forEach(add);
  // A renewed part of the page brings newer data, and the morph took the drawing away.
  d.addEventListener("htmx:afterSwap", () => {
    for (const chart of [...charts]) {
      if (chart.el.isConnected && (!chart.plot || chart.el.hasChildNodes())) continue;
      charts.splice(charts.indexOf(chart), 1); chart.plot?.destroy();
    }
    d.querySelectorAll("[data-chart]").forEach(el => charts.some(chart => chart.el === el) || draw(add(el)));
  });
  const drawAll = () => charts.forEach(draw);
  (d.fonts?.ready || Promise.resolve()).then(drawAll);
  d.addEventListener("themechange", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("resize", () => charts.forEach(({ plot, el }) => plot?.setSize({ width: el.clientWidth, height: +el.dataset.height })));
  const url = charts.map(chart => chart.spec.stream).find(Boolean);
  if (url) {
    const source = new EventSource(url);
    source.addEventListener("metrics", event => append(JSON.parse(event.data)));
    source.addEventListener("end", () => source.close());
    addEventListener("pagehide", () => source.close());
  }
  window.stackweb = { ...window.stackweb, appendPoints: append };
})();
