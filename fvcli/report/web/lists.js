/* Lists of files for other programs: one path per line, NUL-separated, or a script that moves them. */

/* A word for bash that stands for exactly these bytes. */
function quoted(row, prefix = "") {
  const path = exactPath(row);
  if (path === null) {
    const raw = atob(rows.raw[row]);
    let text = "";
    for (let i = 0; i < raw.length; i += 1) {
      const code = raw.charCodeAt(i);
      text += code < 32 || code > 126 || raw[i] === "'" || raw[i] === "\\" ? `\\x${code.toString(16).padStart(2, "0")}` : raw[i];
    }
    return `$'${prefix}${text}'`;
  }
  const whole = prefix + path;
  if (!/[\x00-\x1f\x7f]/.test(whole)) return `'${whole.replaceAll("'", "'\\''")}'`;
  const escaped = whole.replace(/[\\']/g, "\\$&").replace(/[\x00-\x1f\x7f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`);
  return `$'${escaped}'`;
}

/* Groups of rows, the one to keep first -> { text, files, left }; left: files that this format cannot name. */
function listed(groups, format) {
  const smaller = groups.flatMap((group) => group.rows.slice(1));
  if (format === "script") return { text: script(groups, smaller.length), files: smaller.length, left: 0 };
  const paths = smaller.map(exactPath);
  const usable = paths.filter((path) => path !== null && (format === "nul" || !/[\n\r]/.test(path)));
  const end = format === "nul" ? "\0" : "\n";
  return { text: usable.map((path) => path + end).join(""), files: usable.length, left: paths.length - usable.length };
}

/* Every name in a comment is the page's readable one, which never holds a line break. */
function script(groups, files) {
  const lines = [
    "#!/usr/bin/env bash",
    `# ${many(files, "file")} of near-duplicates to move to smaller/; in each group the best one stays.`,
    "# Review it, then run it in the folder where fvcli extract ran. Nothing is overwritten.",
    "set -euo pipefail",
    "move() {",
    '  local clean=${1//..\\//__/}',
    '  mkdir -p -- "smaller/$(dirname -- "$clean")"',
    '  mv -n -- "$1" "smaller/$clean"',
    "}",
  ];
  for (const group of groups) {
    lines.push("", `# keep ${pathOf(group.rows[0])} (${describe(group.rows[0])})`);
    for (const row of group.rows.slice(1)) lines.push(`move ${quoted(row, starts(row))}  # ${describe(row)}, ${tagOf(group, row)}`);
  }
  return lines.join("\n") + "\n";
}
/* A name that begins with a dash must not be taken for an option by dirname. */
const starts = (row) => (pathOf(row).startsWith("-") ? "./" : "");

function save(name, text) {
  const link = make("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: "application/octet-stream" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
