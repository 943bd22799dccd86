"""What the names in a header stand for: the date, the ticker, a field of a bar, or nothing that is read."""

import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from eigen2.errors import DataError

UNDERSTOOD = (
    "long (date, ticker, open, high, low, close, volume), wide closes (date and one column a ticker), "
    "Yahoo or Stooq (date, open, high, low, close, volume), or yfinance's header rows"
)
PRICES = ("open", "high", "low", "close")
# of several names for one role that a header has, the first in this order is read
ROLES = {
    "date": (
        "date", "datetime", "timestamp", "tradedate", "tradingdate", "tradingday", "observationdate", "opentime",
        "time", "gmttime", "localtime", "unix", "datum",
    ),
    "ticker": (
        "ticker", "tic", "symbol", "tickersymbol", "stocksymbol", "code", "stockcode", "tscode", "stock", "secid",
        "security", "asset", "instrument", "contract", "pair", "coin", "isin", "permno", "company", "companyname",
        "name",
    ),
    "open": ("open", "pxopen", "openprice", "o"),
    "high": ("high", "pxhigh", "highprice", "h"),
    "low": ("low", "pxlow", "lowprice", "l"),
    "close": (
        "close", "pxlast", "closelast", "closeprice", "closingprice", "last", "lastprice", "price", "settle",
        "settlement", "settlementprice", "c",
    ),
    "volume": ("volume", "vol", "pxvolume", "v"),
    "splits": ("stocksplits", "stocksplit", "splits", "split", "splitratio", "splitfactor", "splitcoefficient"),
    "adj_open": ("adjopen", "adjustedopen"),
    "adj_high": ("adjhigh", "adjustedhigh"),
    "adj_low": ("adjlow", "adjustedlow"),
    "adj_close": ("adjclose", "adjustedclose", "adjusted", "adjcloseprice", "closeadj"),
}  # fmt: skip
FIELDS = frozenset(ROLES) - {"date", "ticker"}
# understood, and of no use here
IGNORED = frozenset({
    "", "dividends", "dividend", "dividendamount", "exdividend", "divcash", "capitalgains", "adjvolume", "per", "time",
    "unix", "timestamp", "openint", "openinterest", "closetime", "quotevolume", "quoteassetvolume", "count",
    "takerbuyvolume", "takerbuyquotevolume", "ignore", "repaired",
})  # fmt: skip
# names that no stock has, beside those of fields
NO_STOCK = IGNORED | {
    "marketcap", "turnover", "trades", "numberoftrades", "year", "weekday", "dayofweek", "quarter", "change",
    "changepct", "changepercent", "return", "returns", "currency", "exchange", "rownumber", "level0", "bid", "ask",
    "vwap", "amount", "mcap", "shares", "sharesoutstanding", "dayofyear", "weekofyear",
    "tradecount",
}  # fmt: skip
_MAYBE_CLOSE = ("last", "price", "settle", "settlement")  # closes, but beside names of tickers
_UNNAMED = re.compile(r"unnamed:?\s*\d+(_level_\d+)?", re.I)
_LETTERS = {"o", "h", "l", "c", "v"}  # fields only where they stand together: each is also a ticker
_WORD = (
    r"(adj(?:usted)?[\W_]?(?:open|high|low|close)|adjusted|open|high|low|close|last|(?:quote[\W_]?)?volume|vol"
    r"|(?:stock[\W_]?)?splits?|dividends?|capital[\W_]?gains|(?:number[\W_]?of[\W_]?)?trades|amount|turnover|vwap|mcap"
    r"|market[\W_]?cap|shares(?:[\W_]?outstanding)?|open[\W_]?interest|bid|ask|returns?|change|count)"
)
# also parts of names: NYSE:BID, SPDR Gold Shares; so they count only beside a column of the ticker before or behind
_ALSO_NAMES = {"bid", "ask", "shares", "return", "returns", "change", "count"}
# whole words run together with others: AvgVolume, BTCMarketCap
_RUN_TOGETHER = ("volume", "marketcap", "turnover", "openinterest")
_SIGNS = r"[\s._:|/-]+"
_TRAILING = re.compile(rf"(?P<ticker>.+?){_SIGNS}(?P<field>{_WORD})(?:\s*\([^()]*\))?", re.I)  # AAPL.Close
_LEADING = re.compile(rf"(?P<field>{_WORD}){_SIGNS}(?P<ticker>.+)", re.I)  # Close_AAPL
_TUPLE = re.compile(r"\('([^']*)', '([^']*)'\)")  # a pair of names as pandas writes it: ('Close', 'AAPL')
_SHOWN = 10  # names of a list that are shown


def plain(name: str) -> str:
    """A name in small letters, without signs, `4. ` before and a unit in parentheses behind it."""
    numbered = re.sub(r"^\s*\d+[a-z]?\.\s+", "", name)
    return re.sub(r"[\W_]", "", re.sub(r"(?<=\w)\s*\([^()]*\)\s*$", "", numbered)).lower()


def field_of(name: str) -> str | None:
    """The field (open, adj_close, volume, ...) that a header name stands for, or None."""
    word = plain(name)
    return next((role for role in FIELDS if word in ROLES[role] and word not in _LETTERS), None)


def is_field_row(names: Sequence[str]) -> bool:
    """Whether every name of a header row is a field, and one of them a close."""
    fields = {field_of(name) for name in names if plain(name) not in IGNORED}
    return None not in fields and bool(fields & {"close", "adj_close"})


def text_columns(header: Sequence[str]) -> list[int]:
    """The positions of dates and tickers: kept as text, since a ticker may be `NA`, `TRUE` or `0700`."""
    words = {"", *ROLES["date"], *ROLES["ticker"]}
    return [at for at, name in enumerate(header) if plain(name) in words]


def is_nameless(name: str) -> bool:
    """Whether a column has no name, or the one that pandas gives to a column without."""
    return not name.strip() or bool(_UNNAMED.fullmatch(name.strip()))


def roles_of(source: str, header: Sequence[str]) -> dict[str, int]:
    """The position of each role that a header has a name for; of `date` alone where the other names are tickers'.

    Raises DataError where the names are those of bars, and none is a close.
    """
    words = ["" if is_nameless(name) else plain(name) for name in header]
    if not {"o", "h", "l", "c"} <= set(words):
        words = [f"column {word}" if word in _LETTERS else word for word in words]
    found = {role: [words.index(alias) for alias in aliases if alias in words] for role, aliases in ROLES.items()}
    roles = {role: positions[0] for role, positions in found.items() if positions}
    if "date" not in roles and not header[0].strip():
        roles["date"] = 0  # pandas writes an index that has no name under a blank header
    if "adj_close" in roles or ("close" in roles and words[roles["close"]] not in _MAYBE_CLOSE):
        return roles
    known = set(words) & {alias for field in FIELDS for alias in ROLES[field]}
    date_words = {words[roles["date"]]} if "date" in roles else set()
    of_bars = {"high", "low"} <= set(roles) or (bool(known) and set(words) <= known | NO_STOCK | date_words)
    if "close" in roles and (of_bars or "ticker" in roles):
        return roles
    if of_bars:
        names = shown(header[at] for role, at in roles.items() if role in FIELDS)
        raise DataError(
            f"{source}: has the columns {names}, but none that is a close: name the column of closes `close`"
        )
    return {role: at for role, at in roles.items() if role == "date"}


def unread(header: Sequence[str], roles: Iterable[int]) -> list[int]:
    """The positions that have a name, no role, and no known meaning."""
    used = set(roles)
    return [
        at for at, name in enumerate(header)
        if at not in used and not is_nameless(name) and plain(name) not in IGNORED
    ]  # fmt: skip


def pairs_of(names: Sequence[str]) -> list[tuple[str, str] | None]:
    """Of each name, the ticker and the field where it holds both: `AAPL.Close`, `Close_AAPL`, `('Close', 'AAPL')`.

    A price counts only where its ticker has a close, as a pair or as the column of that name: LOW.US is a ticker.
    A name that can be read both ways is read as most of the header is. `AvgVolume` holds a field of no use.
    """
    readings = [_owned([_pair(name, pattern) for name in names], names) for pattern in (_TRAILING, _LEADING)]
    usual, other = sorted(readings, key=lambda pairs: pairs.count(None))
    return [
        pair or second or ((name, "ignored") if plain(name).endswith(_RUN_TOGETHER) else None)
        for name, pair, second in zip(names, usual, other, strict=True)
    ]


def refuse_unclosed(source: str, names: Sequence[str]) -> None:
    """Raise DataError where a ticker has a high and a low among the `names`, and no close."""
    for pattern in (_TRAILING, _LEADING):
        fields: dict[str, set[str]] = {}
        for pair in (_pair(name, pattern) for name in names):
            if pair:
                fields.setdefault(pair[0], set()).add(pair[1])
        for ticker, own in fields.items():
            if {"high", "low"} <= own and not {"close", "adj_close"} & own and ticker not in names:
                raise DataError(
                    f"{source}: the header names a high and a low of {ticker}, but no close: name its close"
                )


def refuse_header(source: str, header: Sequence[str]) -> NoReturn:
    """Raise the DataError for a header that is none of the understood."""
    raise DataError(f"{source}: the header '{shown(header)}' is not one of a market file; understood are {UNDERSTOOD}")


def refuse_twins(source: str, names: Sequence[str]) -> None:
    """Raise DataError where a name stands twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{source}: the header names {name} twice")
        seen.add(name)


def shown(names: Iterable[str]) -> str:
    """Names as a list that is not too long to show."""
    every = list(names)
    text = ", ".join([*every[:_SHOWN], f"and {len(every) - _SHOWN} more"] if len(every) > _SHOWN else every)
    return text if len(text) <= 120 else text[:117] + "..."


def _pair(name: str, pattern: re.Pattern[str]) -> tuple[str, str] | None:
    if found := _TUPLE.fullmatch(name.strip()):
        one, other = found[1].strip(), found[2].strip()
        return next(((b, field) for a, b in ((one, other), (other, one)) if (field := _word(a)) and b), None)
    matched = pattern.fullmatch(name.strip())
    return (matched["ticker"], _word(matched["field"]) or "") if matched else None


def _word(text: str) -> str | None:
    if field := field_of(text):
        return field
    word = plain(text)
    return word if word in _ALSO_NAMES else "ignored" if word in NO_STOCK - {""} else None


def _owned(pairs: Sequence[tuple[str, str] | None], names: Sequence[str]) -> list[tuple[str, str] | None]:
    closes = {pair[0] for pair in pairs if pair and pair[1] in ("close", "adj_close")} | set(names)
    bids, asks = ({pair[0] for pair in pairs if pair and pair[1] == side} for side in ("bid", "ask"))
    uncertain = {*PRICES, *_ALSO_NAMES}
    return [
        pair if pair and (pair[0] in closes | (bids & asks) or pair[1] not in uncertain) else None for pair in pairs
    ]
