// What is kept for the next time; nothing, where the browser does not allow it.

type Place = "localStorage" | "sessionStorage";

export function recall(place: Place, name: string): string {
  try {
    return window[place].getItem(name) ?? "";
  } catch {
    return "";
  }
}

export function remember(place: Place, name: string, text: string): void {
  try {
    window[place].setItem(name, text);
  } catch {
    // It holds for as long as the page is open.
  }
}
