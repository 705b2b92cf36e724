// A click on a figure, or Enter, opens it as large as the window; another click, or Escape, closes it.
const shown = document.createElement("dialog");
shown.className = "larger";
shown.addEventListener("click", () => shown.close());
shown.addEventListener("keydown", (event) => event.key === "Escape" && shown.close());
document.body.append(shown);

for (const picture of document.querySelectorAll("article img:not(a img)")) {
  const button = document.createElement("button");
  button.className = "enlarge";
  button.type = "button";
  button.title = "Show it larger";
  picture.replaceWith(button);
  button.append(picture);
  button.addEventListener("click", () => {
    const larger = picture.cloneNode();
    larger.removeAttribute("style");
    shown.replaceChildren(larger);
    shown.showModal();
  });
}

// What unfolds a part of the table of contents has a sign, but no name for those who do not see it.
for (const sign of document.querySelectorAll("nav summary")) {
  sign.ariaLabel = `Pages of ${sign.closest("li").querySelector("a").textContent.trim()}`;
}

// What search quotes is a page's text, not the buttons above it.
if (typeof Search !== "undefined") {
  const textOf = Search.htmlToText;
  Search.htmlToText = (source, anchor) => {
    const page = new DOMParser().parseFromString(source, "text/html");
    page.querySelector("main")?.removeAttribute("role");
    page.querySelector("article")?.setAttribute("role", "main");
    return textOf(page.documentElement.outerHTML, anchor);
  };
}
