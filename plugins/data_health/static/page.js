// Follows Airflow's light or dark, leads out of Airflow's frame, and draws the charts of a page.

const root = document.documentElement;
const chosen = localStorage.getItem("theme");
if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);

// The frame that Airflow gives this page allows neither pop-ups nor navigation of the whole window; a click in the
// window's own document does.
if (parent !== window) {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.out");
    if (!link) return;
    event.preventDefault();
    const outside = parent.document.createElement("a");
    outside.href = link.href;
    parent.document.body.append(outside);
    outside.click();
    outside.remove();
  });
}

// A link to something folded unfolds it, and what it is folded into.
const unfold = () => {
  const meant = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (meant?.tagName !== "DETAILS") return;
  for (let at = meant; at; at = at.parentElement.closest("details")) at.open = true;
  meant.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();

// Charts: Vega draws the spec beside each, without eval and without styles of its own, in the page's colors.
const charts = [...document.querySelectorAll(".chart[data-vega]")];
const color = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

function look() {
  const [text, soft, line] = ["text", "soft", "line"].map(color);
  const first = color("chart-1");
  return {
    background: null,
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, domainColor: line, tickColor: line, gridColor: line, labelFontSize: 11, titleFontWeight: "normal" },
    legend: { labelColor: text, labelFontSize: 11 },
    line: { color: first, strokeWidth: 2 },
    bar: { color: first },
    style: {
      failed: { color: color("fail"), strokeWidth: 2 }, answered: { color: color("run"), strokeWidth: 3 },
      band: { color: first, opacity: 0.18 }, unusual: { color: color("warn"), filled: true, opacity: 1 },
      hovered: { color: first, filled: true },
    },
    range: { category: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => color(`chart-${number}`)) },
  };
}

async function draw() {
  const config = look();
  for (const chart of charts) {
    chart.vega?.finalize();
    chart.vega = await vegaEmbed(chart, JSON.parse(chart.nextElementSibling.textContent), {
      ast: true, actions: false, defaultStyle: false, renderer: "svg", mode: "vega-lite", config,
      tooltip: { disableDefaultStyle: true },
    });
  }
}

if (charts.length) {
  await import(charts[0].dataset.vega);
  await draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
