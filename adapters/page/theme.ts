/** Dark, light, or as the system has it. The choice is kept. */
import { button } from "./elements.ts";

const THEMES = ["system", "dark", "light"] as const;
type Theme = (typeof THEMES)[number];

/** Sets the toggle up and applies the choice of the last visit, which is kept under a name. */
export function startTheme(keptAs: string): void {
  const toggle = button("theme");
  let theme = kept(keptAs);
  const apply = (): void => {
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    toggle.textContent = `Theme: ${theme}`;
  };
  toggle.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
    keep(keptAs, theme);
    apply();
  });
  apply();
}

function kept(keptAs: string): Theme {
  try {
    const found = localStorage.getItem(keptAs);
    return THEMES.find((theme) => theme === found) ?? "system";
  } catch {
    return "system";
  }
}

function keep(keptAs: string, theme: Theme): void {
  try {
    localStorage.setItem(keptAs, theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
