// Light, dark, or as the system has it.

import { signal } from "@preact/signals";
import { recall, remember } from "./memory.js";

type Choice = "auto" | "light" | "dark";

const KEY = "sidecar-theme";
const order: Choice[] = ["auto", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");

export const choice = signal<Choice>(stored());
export const theme = signal<"light" | "dark">("light");

function stored(): Choice {
  const found = recall("localStorage", KEY) as Choice;
  return order.includes(found) ? found : "auto";
}

function apply(): void {
  const chosen = choice.value;
  theme.value = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
  document.documentElement.style.colorScheme = theme.value;
}

export function nextTheme(): void {
  choice.value = order[(order.indexOf(choice.value) + 1) % order.length] ?? "auto";
  remember("localStorage", KEY, choice.value);
  apply();
}

system.addEventListener("change", apply);
apply();
