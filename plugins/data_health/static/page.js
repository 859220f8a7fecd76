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
