"""Common Media Client Data, CTA-5004 versions 1 and 2: read, checked, written.

    record = read_record('cid="c1",e=ps,sid="s1",sta=p,ts=1764752400000,v=2')
    record.values["sta"]            # Token('p')
    find_faults(record)             # []
    write_query(record, version=1)  # 'CMCD=cid%3D%22c1%22%2Csid%3D%22s1%22'

It knows nothing of the rest of the project, and may be used alone.
Source: CTA-5004 (September 2020), CTA-5004-B (April 2026), RFC 8941.
"""

from ingest.cmcd.keys import HEADERS, KEYS, TABLE, VERSION_MAX, Key, is_custom
from ingest.cmcd.reading import (
    ARGUMENTS,
    MEDIA_TYPES,
    body_lines,
    chosen_argument,
    find_arguments,
    json_elements,
    read_body,
    read_headers,
    read_json,
    read_query,
    read_record,
    read_request,
    written_arguments,
)
from ingest.cmcd.records import Note, Record, Rejected, Value
from ingest.cmcd.structured import Item, Token
from ingest.cmcd.validation import check_delivery, find_faults
from ingest.cmcd.versions import downgraded, upgraded
from ingest.cmcd.writing import write_body, write_headers, write_query, write_record

__all__ = [
    "ARGUMENTS",
    "HEADERS",
    "KEYS",
    "MEDIA_TYPES",
    "TABLE",
    "VERSION_MAX",
    "Item",
    "Key",
    "Note",
    "Record",
    "Rejected",
    "Token",
    "Value",
    "body_lines",
    "check_delivery",
    "chosen_argument",
    "downgraded",
    "find_arguments",
    "find_faults",
    "is_custom",
    "json_elements",
    "read_body",
    "read_headers",
    "read_json",
    "read_query",
    "read_record",
    "read_request",
    "upgraded",
    "write_body",
    "write_headers",
    "write_query",
    "write_record",
    "written_arguments",
]
