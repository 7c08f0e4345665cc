// What is open, kept in the address: a link leads to a group, a failure or a route.
//
//   #group=ID   #fault=ID   #route=NAME

import { signal } from "@preact/signals";

export const opened = signal<URLSearchParams>(read());

function read(): URLSearchParams {
  return new URLSearchParams(location.hash.slice(1));
}

export function openedAs(kind: "group" | "fault" | "route"): string {
  return opened.value.get(kind) ?? "";
}

export function open(kind: "group" | "fault" | "route", id: string): void {
  const place = new URLSearchParams(location.hash.slice(1));
  if (id) place.set(kind, id);
  else place.delete(kind);
  if (kind === "group") place.delete("fault"); // It may be one of another group,
  if (kind === "fault") place.delete("group"); // and this one of none that is open.
  const hash = place.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  opened.value = place;
}

addEventListener("hashchange", () => (opened.value = read()));
