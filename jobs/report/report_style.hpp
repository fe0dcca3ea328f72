// The look of the page: light, and dark where the reader's system is. Law: it names no file and no address.
#pragma once

#include <string_view>

namespace athanor {

// clang-format off
inline constexpr std::string_view kReportStyle = R"css(
:root{--page:#f6f6f3;--card:#fff;--text:#1f2328;--quiet:#687076;--rule:#e4e4df;--grid:#eeeeea;
--c0:#2463c7;--c1:#d9632a;--c2:#25875a;--c3:#8450b8;--c4:#a98400;--c5:#b03060;--good:#25875a;--bad:#b5432c}
@media (prefers-color-scheme:dark){:root{--page:#16181b;--card:#1f2226;--text:#e6e8ea;--quiet:#98a0a8;--rule:#33383d;
--grid:#2a2e33;--c0:#6da3f5;--c1:#f0945f;--c2:#5fc292;--c3:#b890e6;--c4:#dcbc45;--c5:#e77fa6;--good:#5fc292;--bad:#f08a72}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1360px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:26px;margin:0 0 2px;letter-spacing:-.01em}
h2{font-size:20px;margin:44px 0 12px;padding-top:18px;border-top:1px solid var(--rule)}
h2 small{font-weight:400;color:var(--quiet);font-size:14px;margin-left:8px}
h3{font-size:15px;margin:22px 0 8px}
p.lead{color:var(--quiet);margin:0 0 18px}
nav{display:flex;flex-wrap:wrap;gap:2px 14px}nav a{color:var(--c0);text-decoration:none}
.facts{display:flex;flex-wrap:wrap;gap:10px;margin:0 0 16px}
.facts div{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:8px 14px;min-width:104px}
.facts b{display:block;font-size:18px;font-variant-numeric:tabular-nums}
.facts span{color:var(--quiet);font-size:12.5px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(370px,1fr));gap:14px}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px 12px 4px}
figcaption b{font-weight:600;font-size:14px}figcaption i{color:var(--quiet);font-style:normal;font-size:12.5px;margin-left:4px}
.legend{min-height:22px;font-size:12.5px;color:var(--quiet);display:flex;flex-wrap:wrap;gap:2px 14px}
.legend b{color:var(--text);font-weight:600;font-variant-numeric:tabular-nums}
.legend span::before{content:"";display:inline-block;width:12px;height:3px;border-radius:2px;background:var(--c);margin-right:6px;vertical-align:3px}
figure svg{display:block;width:100%;height:auto}
svg text{font-size:11px;fill:var(--quiet);font-variant-numeric:tabular-nums}
.grid{stroke:var(--grid);fill:none}.axis,.tick{stroke:var(--rule);fill:none}
.line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.faint{fill:none;stroke:var(--c);stroke-width:1;opacity:.22}
.band{fill:var(--c);opacity:.13;stroke:none}circle{fill:var(--c);stroke:var(--card);stroke-width:1}
.series-0{--c:var(--c0)}.series-1{--c:var(--c1)}.series-2{--c:var(--c2)}.series-3{--c:var(--c3)}.series-4{--c:var(--c4)}.series-5{--c:var(--c5)}
.wide{overflow-x:auto}table{border-collapse:collapse;background:var(--card);border:1px solid var(--rule);border-radius:10px;font-variant-numeric:tabular-nums;margin:0 0 16px}
th,td{padding:6px 11px;font-size:14px;text-align:right;border-top:1px solid var(--rule);white-space:nowrap}th{font-weight:600;font-size:13px;color:var(--quiet);border-top:0}
th:first-child,td:first-child{text-align:left}td small{color:var(--quiet)}
.samples{display:grid;grid-template-columns:repeat(auto-fill,minmax(370px,1fr));gap:10px}
.sample{background:var(--card);border:1px solid var(--rule);border-left:4px solid var(--rule);border-radius:8px;padding:10px 12px;min-width:0}
.sample.good{border-left-color:var(--good)}.sample.bad{border-left-color:var(--bad)}
.sample pre{margin:4px 0 6px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:220px;overflow-y:auto;font:12.5px/1.45 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.sample .ask{color:var(--quiet)}.sample p{margin:0;font-size:12.5px;color:var(--quiet)}
.keys{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:12.5px;color:var(--quiet);margin:0 0 8px}
.keys span{display:inline-flex;align-items:center;gap:6px}.keys i{width:4px;height:12px;border-radius:2px;background:var(--s)}
.keys .complete,.stage.complete,.mark.complete{--s:var(--good)}.keys .begun,.stage.begun,.mark.begun{--s:var(--c1)}
.keys .waiting,.stage.waiting,.mark.waiting{--s:var(--rule)}
.road svg{margin:0 auto}.keys svg{display:block;width:26px;height:8px;flex:none}
.link{fill:none;stroke:var(--l);stroke-width:1.7;stroke-linecap:round}.head{fill:var(--l);stroke:none}
.weights{--l:var(--quiet)}.data{--l:var(--c4)}.reward{--l:var(--c3)}.teacher{--l:var(--c0)}
.link.data{stroke-dasharray:5 4;stroke-linecap:butt}.link.reward{stroke-dasharray:1 4}
.stage .box{fill:var(--card);stroke:var(--rule);stroke-width:1.2}.stage .state{fill:var(--s)}
.stage.begun .box{stroke:var(--s)}.stage.waiting .box{fill:var(--page);stroke-dasharray:4 3}
.stage .name{font-size:12px;font-weight:600;fill:var(--text)}.stage .kind{font-size:10px}.stage .number{fill:var(--text)}.stage.waiting .name{fill:var(--quiet)}
.mark rect{fill:var(--page);stroke:var(--s);stroke-width:1}.mark text{font-size:10.5px;fill:var(--text)}.mark.waiting text{fill:var(--quiet)}
.stage:hover .box,.mark:hover rect{stroke:var(--c0)}
table a{color:inherit;text-decoration-color:var(--rule)}.models td:nth-child(-n+2),.models tr:first-child th:nth-child(-n+2){text-align:left}
th.reward-name{white-space:normal}.models th.group{text-align:center;border-left:1px solid var(--rule)}.models th.first,.models td.first{border-left:1px solid var(--rule)}
.models td:first-child{font-weight:600}.models td:nth-child(2){color:var(--quiet);font-size:13px}
.bars{max-width:700px;margin:14px 0;padding-bottom:12px}.bars>div{display:grid;grid-template-columns:max-content 1fr max-content max-content;gap:4px 12px;align-items:center;font-size:13px;color:var(--quiet);margin-top:8px;font-variant-numeric:tabular-nums}
.bars b{color:var(--text);text-align:right}.bars div>span:nth-child(4n){text-align:right}
.bar{background:var(--grid);border-radius:4px;height:12px}.bar i{display:block;height:12px;border-radius:4px;min-width:2px;background:var(--c)}
.bar .good{--c:var(--good)}.bar .bad{--c:var(--bad)}.sample .thought{color:var(--quiet);border-left:2px solid var(--rule);padding-left:8px}
details{margin-top:36px}summary{cursor:pointer;color:var(--quiet)}
details pre{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px;overflow-x:auto;font-size:12.5px}
)css";
// clang-format on

}  // namespace athanor
