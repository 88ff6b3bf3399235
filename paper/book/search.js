// Looks for all words of a query in the sections of the book; without JavaScript the page shows no search field.
const field = document.createElement("input");
const found = document.createElement("ol");
field.type = "search";
field.placeholder = "Search the book";
field.setAttribute("aria-label", "Search the book");
found.setAttribute("aria-live", "polite");
document.getElementById("search").append(field, found);

const MOST = 12;
const AROUND = 60; // characters shown on either side of the first word
const lowered = SECTIONS.map((each) => `${each.page} ${each.heading} ${each.text}`.toLowerCase());

function excerpt(text, word) {
  const at = Math.max(0, text.toLowerCase().indexOf(word) - AROUND);
  return (at ? "… " : "") + text.slice(at, at + word.length + 2 * AROUND) + " …";
}

function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  found.replaceChildren();
  if (!words.length) return;
  const score = (at) => words.filter((word) => SECTIONS[at].heading.toLowerCase().includes(word)).length;
  const hits = [...SECTIONS.keys()].filter((at) => words.every((word) => lowered[at].includes(word)));
  hits.sort((a, b) => score(b) - score(a) || a - b);
  for (const at of hits.slice(0, MOST)) {
    const { link, page, heading, text } = SECTIONS[at];
    const item = document.createElement("li");
    const a = document.createElement("a");
    a.href = link;
    a.textContent = heading && heading !== page ? `${page}: ${heading}` : page;
    const words_around = document.createElement("p");
    words_around.textContent = excerpt(text, words[0]);
    item.append(a, words_around);
    found.append(item);
  }
  if (!hits.length) {
    const item = document.createElement("li");
    item.textContent = "Nothing found.";
    found.append(item);
  }
}

field.addEventListener("input", search);
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    field.value = "";
    search();
  }
});
