/** The list of contents marks the view that is read. */

export function startNav(nav) {
  const links = [...nav.querySelectorAll("a[href^='#']")];
  const views = links.map((link) => document.querySelector(link.getAttribute("href")));
  let waiting = false;
  const mark = () => {
    waiting = false;
    const line = nav.getBoundingClientRect().bottom + innerHeight / 4;
    const atEnd = scrollY + innerHeight >= document.documentElement.scrollHeight - 2;
    const current = atEnd ? views.length - 1 : views.findLastIndex((view) => view.getBoundingClientRect().top <= line);
    links.forEach((link, i) => (i === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  };
  const soon = () => {
    if (!waiting) requestAnimationFrame(mark);
    waiting = true;
  };
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  mark();
}
