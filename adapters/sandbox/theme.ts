/** Dark, light, or as the system has it. The choice is kept. */
import { button } from "./elements.ts";

const THEMES = ["system", "dark", "light"] as const;
type Theme = (typeof THEMES)[number];
const KEPT_AS = "cairn-sandbox-theme";

/** Sets the toggle up and applies the choice of the last visit. */
export function startTheme(): void {
  const toggle = button("theme");
  let theme = kept();
  const apply = (): void => {
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    toggle.textContent = `Theme: ${theme}`;
  };
  toggle.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
    keep(theme);
    apply();
  });
  apply();
}

function kept(): Theme {
  try {
    const found = localStorage.getItem(KEPT_AS);
    return THEMES.find((theme) => theme === found) ?? "system";
  } catch {
    return "system";
  }
}

function keep(theme: Theme): void {
  try {
    localStorage.setItem(KEPT_AS, theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
