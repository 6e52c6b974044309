"""What a prospect of Outreach is made of, as far as a mapping may name it."""

from __future__ import annotations

ATTRIBUTES = frozenset(
    "addedAt addressCity addressCountry addressState addressStreet addressStreet2 addressZip angelListUrl availableAt "
    "campaignName company dateOfBirth degree eventName externalId externalOwner externalSource facebookUrl firstName "
    "gender githubUrl githubUsername googlePlusUrl graduationDate jobStartDate lastName linkedInConnections linkedInId "
    "linkedInUrl middleName nickname occupation personalNote1 personalNote2 preferredContact quoraUrl region school "
    "score source specialties stackOverflowId stackOverflowUrl tags timeZone title twitterUrl twitterUsername websiteUrl1 "
    "websiteUrl2 websiteUrl3".split()
) | {f"custom{n}" for n in range(1, 151)}
"""Prospect attributes that can be written (facts, outreach-openapi prospectAttributes), the opt-outs apart."""
READ_ONLY = frozenset(
    "clickCount createdAt engagedAt engagedScore linkedInSlug name openCount replyCount timeZoneIana timeZoneInferred "
    "touchedAt updatedAt".split()
)
LISTS = frozenset({"emails", "homePhones", "mobilePhones", "otherPhones", "voipPhones", "workPhones"})
