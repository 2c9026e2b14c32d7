"""How the page looks: colours come from Gradio's variables, so that light and dark both work."""

CSS = """
.gradio-container { max-width: 1240px !important; }
.lead h1 { margin-bottom: 0.2em; }
.lead p { margin: 0.2em 0; max-width: 75ch; }
.card, .nucleus { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px 16px; }
.card h3, .nucleus h3 { margin: 0 0 6px; }
.card h3 { margin-top: 8px; }
.card ul { margin: 4px 0; padding-left: 1.2em; list-style: disc; }
.card p, .card li { margin: 4px 0; }
#card { padding: 10px; }
#card .card { border: none; padding: 0; }
.card table, .card table :is(tr, td, th, thead), table.bars, table.bars :is(tr, td, th) {
  border: none !important; background: none !important; color: inherit; }
table.scores th, table.scores td { padding: 3px 10px 3px 0; text-align: left; vertical-align: top; font-weight: 400; }
table.scores th[scope=col] { font-weight: 600; }
#dark { position: absolute; right: 0; top: 0; width: auto; min-width: 0; z-index: 1; }
.warning, .wrong { border-left: 4px solid #d97706; background: color-mix(in srgb, #d97706 12%, transparent);
  padding: 6px 10px; margin: 6px 0; border-radius: 4px; }
.wrong { border-left-color: #dc2626; background: color-mix(in srgb, #dc2626 12%, transparent); }
.wrong ul { margin: 0; padding-left: 1em; }
.told p { margin: 2px 0; }
.told p:first-child { font-size: 1.15em; font-weight: 600; }
table.bars th { text-align: left; padding: 2px 10px 2px 0 !important; font-weight: 600;
  white-space: nowrap; width: 1%; }
.bars .track > div { height: 14px; border-radius: 3px; min-width: 1px; }
table.bars td { padding: 2px 0 !important; }
table.bars td.value { text-align: right; white-space: nowrap; width: 1%; padding-left: 10px !important; }
.nucleus .name { opacity: 0.8; margin: 0 0 6px; overflow-wrap: anywhere; }
.nucleus .call { font-size: 1.5em; }
.nucleus h3 small { font-weight: 400; opacity: 0.8; }
.figures { display: flex; flex-wrap: wrap; gap: 10px; }
.figures figure { margin: 0 0 8px; flex: 1 1 140px; max-width: 240px; }
.figures img { width: 100%; border-radius: 4px; background: black; }
.figures figcaption { font-size: 0.85em; opacity: 0.8; }
.downloads ul { display: flex; flex-wrap: wrap; gap: 10px; list-style: none; margin: 0; padding: 0; }
.downloads a { display: inline-block; padding: 8px 14px; border-radius: 8px; text-decoration: none;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color);
  border: 1px solid var(--border-color-primary); }
.downloads a:hover, .downloads a:focus-visible { border-color: var(--color-accent); }
#table, #table :is(table, th, span, div) { font-family: var(--font); }
.hint { margin: 0; opacity: 0.8; font-size: 0.9em; }
@media (max-width: 640px) { .gradio-container { padding: 8px !important; } }
#promise h2 { margin: 8px 0 4px; font-size: 1.1em; }
#promise ul { list-style: disc; padding-left: 1.4em; }
.legend span { white-space: nowrap; margin-right: 10px; }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px; }
"""
