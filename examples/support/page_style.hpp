// SPDX-License-Identifier: MIT
//
// How pages look.
#pragma once

namespace example {

inline constexpr const char* page_style = R"css(
:root { color-scheme: light dark; --ground: #ffffff; --ink: #26292e; --soft: #6a7078; --line: #dddddd; --mark: #0072B222; --out: #b54700; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181c; --ink: #dfe3e8; --soft: #9aa2ac; --line: #3a3f46; --mark: #56B4E933; --out: #ff9c5b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 1.2rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 .6rem; }
.facts { margin: 0 0 1rem; padding-left: 1.1rem; color: var(--soft); font-size: .92rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .16rem .5rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; white-space: normal; vertical-align: bottom; color: var(--soft); line-height: 1.2; }
tbody th, tr.own th, thead tr:first-child th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0; background: var(--ground); }
tr.family th { color: var(--soft); font-size: .8rem; padding-top: .7rem; }
tr.own th, tr.own td { font-weight: 600; }
td.out { color: var(--out); font-weight: 600; }
td.bar { background: linear-gradient(to right, var(--mark) var(--share), transparent var(--share)); }
tr.scheme th, tr.scheme td { border-bottom: none; }
tr.how td { text-align: left; white-space: normal; padding: 0 .5rem .3rem 1.6rem; color: var(--soft); font-size: .8rem; line-height: 1.3; }
.advice { border-left: 4px solid #0072B2; padding: .1rem .9rem; margin: 0 0 1.2rem; }
.advice p { margin: .4rem 0; }
a { color: inherit; }
.none { color: var(--soft); }
.legend { color: var(--soft); font-size: .9rem; }
figure { margin: 2.2rem 0 0; }
figure svg { display: block; min-width: 760px; width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .92rem; max-width: 46rem; margin-top: .4rem; }
.warning { border-left: 4px solid var(--out); padding: .3rem .8rem; }
details { margin-top: 2.2rem; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: .82rem; line-height: 1.4; }
)css";

}  // namespace example
