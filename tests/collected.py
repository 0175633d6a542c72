"""The ids of the rules of HTTP's verbs as they were collected, section by section: facts to account for."""

from __future__ import annotations

SECTIONS = {
    "7.1 Method token and target": """
        method-unknown-501 method-not-allowed-405 method-get-head-supported method-case-sensitive
        method-token-grammar method-no-override target-asterisk-options-only target-authority-connect-only
        target-absolute-form host-exactly-one target-one-canonical-key safe-no-unsafe-action safe-no-state-status
        method-registered-only
    """,
    "7.2 Request content": """
        get-no-content head-no-request-content delete-no-content trace-no-content connect-no-content
        options-content-typed content-typed content-type-accepted content-coding-accepted
        status-415-accept-encoding-only-coding framing-cl-te content-complete content-length-required
        content-too-large content-location-request-inert content-range-request-ignored
    """,
    "7.3 PUT": """
        put-no-collection put-other-target-3xx put-create-201 put-replace-200-204 put-status-set put-201-location
        put-201-location-is-target put-content-range-400 put-no-patch-media put-validator-only-verbatim
        put-inconsistent-409-415 put-idempotent-effect put-not-cacheable put-conditional-required
    """,
    "7.4 POST": """
        post-201-location post-created-as-200 post-location-specific post-no-206-304-416 post-redirect-explicit
        post-303-location post-cacheable-complete post-202-status post-key-required
    """,
    "7.5 PATCH": """
        patch-media-type patch-415-accept-patch patch-advertise patch-allow-consistent patch-atomic
        patch-conditional patch-412-had-precondition patch-malformed-400-422 patch-not-put-fields patch-status-set
    """,
    "7.6 DELETE": """
        delete-status-set delete-200-has-content delete-repeat-free delete-always-204 delete-collection-guard
        delete-content-location delete-not-cacheable
    """,
    "7.7 GET and HEAD": """
        head-no-content head-fields-as-get head-content-length-exact get-validators get-202-409
    """,
    "7.8 OPTIONS, TRACE, CONNECT": """
        options-allow options-auto options-asterisk options-max-forwards allow-complete allow-consistent trace-off
        trace-no-secrets connect-off connect-port connect-2xx-no-framing
    """,
    "7.9 QUERY (RFC 10008)": """
        query-content-type query-media-accepted query-no-sniff query-unprocessable query-location-meaning
        query-redirect query-conditional query-cache-key query-no-replay-store accept-query-sf query-cors
    """,
    "7.10 Status codes in general": """
        status-100-599 status-final-not-1xx status-registered status-method-table status-reserved
        status-1xx-not-http10 status-4xx-5xx-explained status-501-not-get status-gateway-only status-error-in-200
    """,
    "7.11 Status codes that need something": """
        status-101-needs-upgrade status-206-needs-range status-300-location status-3xx-location status-redirect-loop
        status-304-needs-precondition status-304-fields status-304-lean status-401-needs-www-authenticate
        status-407-needs-proxy-authenticate status-405-needs-allow status-406-needs-negotiation
        status-411-needs-missing-length status-412-needs-precondition status-413-retry-after
        status-415-needs-content status-416-needs-range status-417-needs-expect status-422-needs-content
        status-425-needs-early-data status-426-needs-upgrade status-428-had-no-precondition
        status-429-503-retry-after status-428-429-431-511-no-store status-451-blocked-by
        status-202-with-respond-async retry-after-grammar
    """,
    "7.12 Content and framing by status": """
        no-content-1xx-204-304 no-length-1xx-204 no-te-1xx-204 no-content-205 length-304-exact length-true
        response-typed date-present location-single content-location-201 content-location-put-post
    """,
    "7.13 Validators and preconditions": """
        etag-grammar etag-per-encoding last-modified-not-future if-match-evaluated if-match-strong
        if-none-match-star if-none-match-unsafe-412 if-modified-since-get-only precondition-order
        precondition-after-checks precondition-forward precondition-connect-options-trace precondition-grammar
        lost-update-428 conditional-retry-2xx
    """,
    "7.14 Ranges": """
        range-get-only range-unknown-unit status-206-content-range status-206-no-multipart-for-one status-206-fields
        if-range-needs-range content-range-only-206-416
    """,
    "7.15 Negotiation and Prefer": """
        vary-negotiated vary-prefer prefer-contradiction prefer-unknown-ignored preference-applied-asked
        prefer-minimal prefer-forwarded accept-post-put-hint
    """,
    "7.16 Caching and invalidation": """
        unsafe-write-through invalidate-target invalidate-location invalidate-cross-origin invalidate-groups
        invalidate-on-replay authorised-not-shared age-only-caches
    """,
    "7.17 Expect, interim responses, early data": """
        expect-decide-early expect-unknown expect-without-content expect-http10 interim-forwarded early-answer-close
        early-data-unsafe
    """,
    "7.18 Integrity and error bodies": """
        content-digest-verify repr-digest-put digest-after-repair digest-not-trusted problem-status-matches
        problem-allowed-always problem-keeps-app-body
    """,
    "7.19 Life-cycle fields (mention)": """
        deprecation-date sunset-after-deprecation
    """,
    "7.20 Idempotency-Key": """
        idem-key-syntax idem-key-single idem-key-format idem-key-missing-400 idem-key-reuse-422
        idem-key-reuse-target idem-key-inflight-409 idem-replay-result idem-no-store-pre-execution
        idem-scope-principal idem-methods idem-marker idem-expiry-published idem-key-forward idem-key-not-logged
    """,
    "7.21 Retries and gateway hygiene": """
        retry-idempotent-only retry-once retry-expected hop-by-hop-stripped via-inbound no-transform gateway-502-504
        no-reject-after-effect
    """,
}

IDS = {id for ids in SECTIONS.values() for id in ids.split()}
