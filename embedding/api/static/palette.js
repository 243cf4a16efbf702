/** The colours of the style sheet as a canvas can use them. */

const SHADES = 32;

/** The colours named in `names`, and `shade(share)`: from --cold at 0 to --hot at 1; as `room` has them now. */
export function palette(room, names) {
  const probe = room.appendChild(document.createElement("i"));
  probe.style.forcedColorAdjust = "none";
  const resolved = (colour) => {
    probe.style.color = colour;
    return getComputedStyle(probe).color;
  };
  const found = Object.fromEntries(names.map((name) => [name, resolved(`var(--${name})`)]));
  const shades = Array.from({ length: SHADES + 1 }, (_, i) => resolved(`color-mix(in oklab, var(--hot) ${(100 * i) / SHADES}%, var(--cold))`));
  probe.remove();
  return { ...found, shade: (share) => shades[Math.round(SHADES * Math.min(1, Math.max(0, share)))] };
}

/** Call `again` whenever the reader's colours change. */
export function onRecolour(again) {
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"]) {
    matchMedia(query).addEventListener("change", again);
  }
}
