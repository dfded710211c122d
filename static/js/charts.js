// uPlot charts from <script type="application/json" id="data-…">:
// {series: [{name, kind: "line"|"raw"|"dots", steps, values}], x_end, unit, zero, stream}.
(() => {
  const d = document;
  const probe = d.createElement("i"); probe.hidden = true; d.body.append(probe);
  const token = name => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
  const number = v => v == null ? "–" : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : Math.abs(v) >= 10 ? v.toFixed(1) : Math.abs(v) >= .01 || v === 0 ? v.toFixed(3) : v.toExponential(2);
  const colours = ["--s1", "--s2", "--s3", "--s4", "--s5"];
  const charts = [];

  // One x axis for all series; a series without a value at a step has a gap there.
  const table = series => {
    const steps = [...new Set(series.flatMap(one => one.steps))].sort((a, b) => a - b);
    return [steps, ...series.map(one => { const at = new Map(one.steps.map((step, i) => [step, one.values[i]])); return steps.map(step => at.has(step) ? at.get(step) : null); })];
  };
  const style = (one, place) => {
    const colour = one.kind === "raw" ? "--line-2" : colours[place % colours.length];
    return { label: one.name, stroke: token(colour), width: one.kind === "raw" ? 1 : 1.75, spanGaps: true,
      points: one.kind === "dots" || one.steps.length < 30 ? { show: true, size: one.kind === "dots" ? 7 : 5, fill: token("--surface"), width: 1.75 } : { show: false } };
  };
  const colourOf = (series, place) => series[place].kind === "raw" ? "--line-2" : colours[place % colours.length];

  function draw(chart) {
    const { el, spec } = chart, data = table(spec.series), ink = token("--ink-3"), grid = token("--grid");
    const axis = { stroke: ink, font: "11px 'Instrument Sans'", grid: { stroke: grid, width: 1 }, ticks: { show: false }, gap: 6 };
    const readout = d.querySelector(`[data-readout="${el.dataset.chart}"]`);
    const read = plot => {
      if (!readout || !plot.data[0].length) return;
      const place = plot.cursor.idx ?? plot.data[0].length - 1;
      const cells = spec.series.map((one, i) => { let at = place; while (at > 0 && plot.data[i + 1][at] == null) at--; return [one.name, plot.data[i + 1][at], colourOf(spec.series, i)]; });
      readout.replaceChildren(...[["step", plot.data[0][place], null], ...cells].map(([name, value, colour]) => {
        const cell = d.createElement("span");
        if (colour) { const key = d.createElement("i"); key.className = "ln"; key.style.setProperty("--c", `var(${colour})`); cell.className = "legend"; cell.append(key); }
        const bold = d.createElement("b"); bold.textContent = colour ? number(value) : value.toLocaleString("en");
        cell.append(`${name} `, bold); return cell;
      }));
    };
    el.style.height = `${el.dataset.height}px`;
    chart.plot?.destroy(); el.replaceChildren();
    chart.plot = new uPlot({
      width: el.clientWidth, height: +el.dataset.height, padding: [10, 14, 0, 0], legend: { show: false },
      cursor: { y: false, sync: { key: "step" }, drag: { x: true, y: false } },
      scales: { x: { time: false, range: (_, low, high) => [spec.x_end ? 0 : low, Math.max(spec.x_end || 0, high ?? 1)] },
        y: { range: (_, low, high) => low == null ? [0, 1] : [spec.zero ? 0 : low - (high - low || low || 1) * .08, high + (high - low || high || 1) * .08] } },
      axes: [{ ...axis, grid: { show: false }, size: 26, space: 70 }, { ...axis, size: 52, space: 34, values: (_, ticks) => ticks.map(v => Math.abs(v) < .001 && v ? v.toExponential(0) : +v.toFixed(3)) }],
      series: [{}, ...spec.series.map(style)], hooks: { setCursor: [read] },
    }, data, el);
    read(chart.plot);
  }
  const drawAll = () => charts.forEach(draw);

  // New points from the stream: [[series name, step, value], …]. A derived series names its source.
  const append = points => charts.forEach(chart => {
    let changed = false;
    for (const [name, step, value] of points) {
      const one = chart.spec.series.find(series => (series.source || series.name) === name);
      if (one && !one.steps.includes(step)) { one.steps.push(step); one.values.push(value); changed = true; }
    }
    if (changed) draw(chart);
  });

  d.querySelectorAll("[data-chart]").forEach(el => charts.push({ el, spec: JSON.parse(d.getElementById(`data-${el.dataset.chart}`).textContent) }));
  (d.fonts?.ready || Promise.resolve()).then(drawAll);
  d.addEventListener("themechange", drawAll);
  let waiting; addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 120); });
  const url = charts.map(chart => chart.spec.stream).find(Boolean);
  if (url) {
    const source = new EventSource(url);
    source.addEventListener("metrics", event => append(JSON.parse(event.data)));
    source.addEventListener("end", () => source.close());
    addEventListener("pagehide", () => source.close());
  }
})();
